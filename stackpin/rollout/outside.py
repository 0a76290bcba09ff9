"""Checks from outside a host: its public address, or the server a node beats at."""

from __future__ import annotations

from typing import Any

from stackpin.config.release import version_of
from stackpin.rollout.heartbeats import Watch, watch
from stackpin.rollout.model import Roll, Run
from stackpin.rollout.publicly import ask_public

__all__ = ["look_outside", "wait_outside"]


def wait_outside(run: Run, roll: Roll, seen: Watch | None, seconds: float) -> dict[str, Any] | None:
    """Wait up to `seconds` for the new release to be healthy; a GateResult, None without checks.

    `seen` is the Watch of the whole batch where nodes are judged by their heartbeats.
    """
    if seen is not None:
        return seen.until(roll, seconds)
    settings = run.settings[roll.host][roll.part]
    version = version_of(roll.wanted or "") or None
    return ask_public(run.session, roll.host, settings, version, min(seconds, 60.0))


def look_outside(run: Run, roll: Roll, release: str | None) -> dict[str, Any] | None:
    """Ask once about `release`, which serves; a GateResult, None when there is nothing to ask."""
    settings = run.settings[roll.host][roll.part]
    seen = watch(run, roll.part)
    if seen is not None:
        asked = Roll(roll.host, roll.part, release, release)
        return seen.once(asked, float(getattr(settings, "heartbeat_ttl", 15)))
    version = version_of(release or "") or None
    return ask_public(run.session, roll.host, settings, version)
