"""Read a host's `state` answer into the one line a person wants to see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stackpin.care.history import RunEntry, collate, live_run

__all__ = ["HostStatus", "summarise"]


@dataclass(frozen=True)
class HostStatus:
    """One host's stack in words; empty text means "nothing to say", `error` "could not ask".

    `health` is the score of the live slot's checks from 0 to 1, None when they were not run.
    `required` tells whether the host is unhealthy where `healthy` is False.
    `digest` is that of the image the live slot was made from ("sha256:..."), where it is one.
    `restarts`, `memory_bytes` (resident) and `cpu_seconds` (since it started) are those of the live
    slot's main process, None without one. `deployed` is the last run that was to change the
    release: when, what and how it ended.
    """

    host: str
    release: str = ""
    version: str = ""
    slot: str = ""
    active: str = ""
    since: str = ""
    pin: str = ""
    last: str = ""
    lock: str = ""
    maintenance: bool = False
    health: float | None = None
    healthy: bool | None = None
    required: bool = True
    error: str = ""
    digest: str = ""
    restarts: int | None = None
    memory_bytes: int | None = None
    cpu_seconds: float | None = None
    deployed: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the status as JSON values."""
        return dict(vars(self))


def summarise(
    host: str,
    state: Mapping[str, Any],
    *,
    pin: str | None = None,
    gate: Mapping[str, Any] | None = None,
) -> HostStatus:
    """Summarise a `state` answer; `pin` is the version the inventory wants, `gate` a GateResult."""
    lock = _lock(state.get("lock"))
    if not state.get("installed"):
        return HostStatus(host, release="not installed", pin=pin or "", lock=lock)
    slot = str(state.get("live_slot") or "")
    running: Mapping[str, Any] = (state.get("slots") or {}).get(slot) or {}
    release = state.get("live_release")
    version = _version(state, release)
    told = collate(host, state.get("journal") or [], live_run(state))
    runs = [entry for entry in told if entry.run] or told
    used: Mapping[str, Any] = running.get("resources") or {}
    return HostStatus(
        host=host,
        release=str(release or "none"),
        version=version,
        slot=slot,
        active=str(running.get("active") or ""),
        since=str(running.get("started") or ""),
        pin="" if pin is None else pin if pin == version else f"{pin} (not live)",
        last=f"{runs[-1].command}: {runs[-1].outcome}" if runs else "",
        lock=lock,
        digest=str(running.get("digest") or ""),
        maintenance=bool(state.get("maintenance")),
        health=None if gate is None else float(gate.get("score") or 0),
        healthy=None if gate is None else bool(gate.get("passed")),
        required=bool((gate or {}).get("required", True)),
        restarts=running.get("restarts"),
        memory_bytes=used.get("rss_bytes"),
        cpu_seconds=used.get("cpu_seconds"),
        deployed=_deployed(runs),
    )


def _deployed(runs: Sequence[RunEntry]) -> str:
    for run in reversed(runs):
        if run.run and run.command != "restart":
            when = run.started.partition(".")[0].replace("T", " ").removesuffix("Z")
            return f"{when} {run.command}: {run.outcome}"
    return ""


def _version(state: Mapping[str, Any], release: object) -> str:
    for entry in state.get("releases") or []:
        if entry.get("id") == release:
            return str(entry.get("version") or "")
    return str(release).rpartition("-")[0] if release else ""


def _lock(lock: Mapping[str, Any] | None) -> str:
    if not lock:
        return ""
    reason = f" ({lock['reason']})" if lock.get("reason") else ""
    return f"{lock.get('owner', 'somebody')}{reason}"
