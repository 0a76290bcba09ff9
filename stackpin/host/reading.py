"""One look at a host: what runs, and how a difference to what was deployed is told."""

from __future__ import annotations

from typing import Any, NamedTuple

from stackpin.host.processes import Listener, Process
from stackpin.host.stack import Stack

__all__ = ["Finding", "Reading", "UnitState"]


class Finding(NamedTuple):
    """One difference: a stable code, a sentence with place and remedy, expected and found."""

    code: str
    message: str
    expected: str
    found: str


class UnitState(NamedTuple):
    """What systemd says of a slot's unit; fragment_ok: its text is the release's and loaded."""

    name: str
    active: str
    sub: str
    main_pid: int
    restarts: int
    dropins: list[str]
    fragment: str | None
    fragment_ok: bool
    reload_needed: bool

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON."""
        return self._asdict()


class Reading(NamedTuple):
    """One moment of a host: units and processes by slot."""

    stack: Stack
    live_slot: str | None
    units: dict[str, UnitState]
    running: dict[str, Process]
    listening: list[Listener]
