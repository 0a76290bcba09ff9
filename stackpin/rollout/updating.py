"""A new version: bump the pin, roll it out, and put the pin back when the hosts do not take it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stackpin import pins
from stackpin.config.stacks import Stack
from stackpin.config.types import compare_tags, is_release_tag, release_tag
from stackpin.errors import Refused
from stackpin.rollout.model import Run
from stackpin.rollout.performing import perform

__all__ = ["update"]


def update(run: Run, version: str, *, allow_downgrade: bool, say: Callable[[str], None]) -> int:
    """Pin `version` for the run's stack, roll out, and return the exit code (see `perform`).

    The pin goes back to what it was unless every host ends up serving. Raises Refused for a
    version that is none, older than the pin (without `allow_downgrade`), or a stack without pin.
    """
    old = _bump(Path(run.request.inventory), run.request.stack, version, allow_downgrade)
    if old.value != version:
        say(f"{old.path}:{old.line}: {old.variable} {old.value} -> {version}")
    code: int | None = None
    try:
        code = perform(run)
    finally:
        if code != 0 and not run.serves and old.value != version:
            back = pins.restore(old, version)
            told = f"back to {old.value}" if back else "was changed meanwhile and stays as it is"
            say(f"{old.path}:{old.line}: {old.variable} {told}")
    return code


def _bump(inventory: Path, stack: Stack, version: str, allow_downgrade: bool) -> pins.Pin:
    if stack.version_variable is None:
        raise Refused(f"stack {stack.name} has no version to pin: use `stackpin deploy`")
    try:
        release_tag(version)
    except ValueError as error:  # pydantic's custom error is one
        raise Refused(f"--version: found {version!r}, expected {error}") from None
    if not inventory.is_file():
        raise Refused(f"{inventory}: no such inventory file in {Path.cwd()}")
    path = pins.pin_file(inventory)
    old = pins.read(path, stack.version_variable)
    if is_release_tag(old.value) and compare_tags(version, old.value) < 0 and not allow_downgrade:
        raise Refused(
            f"--version: found {version}, older than the pin {old.value} in {path}:{old.line}; to "
            "return to the last good release use `stackpin rollback`, else add --allow-downgrade"
        )
    return pins.bump(path, stack.version_variable, version)
