"""A new version: lock and pin it, roll it out, and put both back when the hosts do not take it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stackpin.config.stacks import Stack
from stackpin.errors import Refused
from stackpin.rollout.model import Run
from stackpin.rollout.newest import newest_of
from stackpin.rollout.performing import perform
from stackpin.rollout.pinning import Change, current, declared, prepare
from stackpin.rollout.wanted import Wanted

__all__ = ["pin", "update"]

Say = Callable[[str], None]


def update(
    run: Run, wanted: Wanted | str, *, allow_downgrade: bool, say: Say, refresh: bool = False
) -> int:
    """Lock and pin a version for the run's stack, roll out, and return the exit code.

    Every image is found in its registry before anything is written. Pin and lock file go back to
    what they were unless the run keeps the pin. Raises Refused for a version that is none, older
    than the pin (without `allow_downgrade`), not completely in the registry or pushed again with
    other content, and for a stack without pin.
    """
    change = _change(
        Path(run.request.inventory),
        run.request.stack,
        wanted,
        run.request.data,
        say,
        allow_downgrade=allow_downgrade,
        refresh=refresh,
    )
    code: int | None = None
    change.make(say)
    try:
        code = perform(run)
    finally:
        if code != 0 and not run.keeps_pin:
            change.put_back(say)
    return code


def pin(
    inventory: Path,
    stack: Stack,
    wanted: Wanted,
    data: Mapping[str, Any],
    *,
    allow_downgrade: bool,
    refresh: bool,
    say: Say,
) -> Change:
    """Lock and pin a version and touch no host; return what was changed. Raises Refused."""
    change = _change(
        inventory, stack, wanted, data, say, allow_downgrade=allow_downgrade, refresh=refresh
    )
    change.make(say)
    return change


def _change(
    inventory: Path,
    stack: Stack,
    wanted: Wanted | str,
    data: Mapping[str, Any],
    say: Say,
    *,
    allow_downgrade: bool,
    refresh: bool,
) -> Change:
    one = Wanted(version=wanted) if isinstance(wanted, str) else wanted
    now = current(inventory, stack)

    def latest() -> str:
        return newest_of(stack.name, declared(inventory, stack, data), Path.cwd())

    version = one.resolve(latest)
    if now.variable in data:
        raise Refused(
            f"--data {now.variable}: found {data[now.variable]!r}, expected the version to be "
            "given once. Leave it out: the version is what is pinned here."
        )
    return prepare(
        inventory, stack, version, data, say, allow_downgrade=allow_downgrade, refresh=refresh
    )
