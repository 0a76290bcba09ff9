"""Pin and lock file change together: both are written, lock first, or both are put back.

The order survives a kill at any point: a lock file with one version more harms nobody, and when
the pin names a version its lock has been written. The next `update` or `deploy` goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from stackpin import lockfile, pins
from stackpin.config.common import StackSettings
from stackpin.config.stacks import Stack
from stackpin.config.types import compare_tags, is_release_tag
from stackpin.errors import Refused
from stackpin.registry.matrix import Sourced
from stackpin.rollout.checking import check_inventory
from stackpin.rollout.locking import lock_of, locked

__all__ = ["Change", "current", "declared", "prepare"]

Say = Callable[[str], None]


@dataclass
class Change:
    """A pin and, for stacks of images, a lock file: as they are and as they shall be.

    `lock` is (path, bytes before or None for no file, bytes after); None where nothing changes.
    """

    pin: pins.Pin
    version: str
    lock: tuple[Path, bytes | None, bytes] | None = None

    def make(self, say: Say) -> None:
        """Write the lock file, then the pin. Raises Refused; then neither is changed."""
        if self.lock is not None:
            lockfile.replace_bytes(self.lock[0], self.lock[2])
            say(f"{self.lock[0]}: locked {self.version}")
        try:
            pins.bump(self.pin.path, self.pin.variable, self.version)
        except BaseException:
            self._unlock(say)
            raise
        if self.pin.value != self.version:
            say(f"{self._place} {self.pin.value} -> {self.version}")

    def put_back(self, say: Say) -> None:
        """Put back both, the pin first; what somebody else changed meanwhile stays."""
        if self.pin.value != self.version:
            back = pins.restore(self.pin, self.version)
            told = f"back to {self.pin.value}" if back else "was changed meanwhile and stays as is"
            say(f"{self._place} {told}")
            if not back:
                return  # the lock belongs to whatever is pinned now
            self._unlock(say)

    def _unlock(self, say: Say) -> None:
        if self.lock is None:
            return
        path, before, after = self.lock
        if not path.is_file() or path.read_bytes() != after:
            say(f"{path}: was changed meanwhile and stays as it is")
        elif before is None:
            path.unlink()
            say(f"{path}: removed again")
        else:
            lockfile.replace_bytes(path, before)
            say(f"{path}: as it was before")

    @property
    def _place(self) -> str:
        return f"{self.pin.path}:{self.pin.line}: {self.pin.variable}"


def current(inventory: Path, stack: Stack) -> pins.Pin:
    """Read the pin of a stack. Raises Refused for a stack that pins nothing."""
    if stack.version_variable is None:
        raise Refused(f"stack {stack.name} has no version to pin: use `stackpin deploy`")
    if not inventory.is_file():
        raise Refused(f"{inventory}: no such inventory file in {Path.cwd()}")
    return pins.read(pins.pin_file(inventory), stack.version_variable)


def declared(inventory: Path, stack: Stack, data: Mapping[str, Any]) -> list[StackSettings]:
    """Return the settings of every host and part, whatever it runs. Raises Refused."""
    checked = check_inventory(str(inventory), stack, (), data, artifacts=False)
    return [one for parts in checked.settings.values() for one in parts.values()]


def prepare(
    inventory: Path,
    stack: Stack,
    version: str,
    data: Mapping[str, Any],
    say: Say,
    *,
    allow_downgrade: bool = False,
    refresh: bool = False,
) -> Change:
    """Find out everything that pinning `version` needs, and write nothing.

    For a stack of images every registry is asked: see `locking.locked`. Raises Refused.
    """
    pin = current(inventory, stack)
    older = is_release_tag(pin.value) and compare_tags(version, pin.value) < 0
    if older and not allow_downgrade:
        raise Refused(
            f"--version: found {version}, older than the pin {pin.value} in {pin.path}:{pin.line}; "
            "to return to the last good release use `stackpin rollback`, else add --allow-downgrade"
        )
    if not _has_images(stack):
        return Change(pin, version)
    every = declared(inventory, stack, {**data, pin.variable: version})
    if not every:
        raise Refused(f"{inventory}: found no host of {stack.name}; add one to its groups")
    settings = [cast(Sourced, one) for one in every if lockfile.uses_images(one)]
    if not settings:
        return Change(pin, version)
    proposal = inventory.parent / f"{inventory.name.removesuffix('.py')}.lock.toml"
    before = lock_of(settings, Path(), str(proposal))
    after = locked(settings, before, Path(), say, pinned=pin.value, refresh=refresh)
    if after == before:
        return Change(pin, version)
    old = before.path.read_bytes() if before.path.is_file() else None
    return Change(pin, version, (before.path, old, after.text().encode("utf-8")))


def _has_images(stack: Stack) -> bool:
    return any(hasattr(part.model, "images") for part in stack.components())
