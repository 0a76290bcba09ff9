"""Collate a host's journal, one line per event, into one entry per run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

__all__ = ["RunEntry", "collate", "live_run"]

# Later in this tuple outranks earlier: what the host undid is never reported as done, even when a
# confirmation was journalled before it.
_DECISIVE = ("switched", "confirmed", "retired", "failed", "reverted")
_OUTCOME = {
    "switched": "switched, not confirmed",
    "confirmed": "confirmed, old slot not retired",
    "retired": "done",
    "failed": "failed, nothing switched",
    "reverted": "rolled back",
}


@dataclass(frozen=True)
class RunEntry:
    """One run on one host, or one single event outside a run such as a backup.

    `started` is ISO 8601 as journalled; `seconds` from its first to its last event, None for a
    single event; `outcome` is for people, `event` the journal event it was read from.
    """

    host: str
    run: str | None
    command: str
    release: str | None
    before: str | None
    started: str
    seconds: float | None
    event: str
    outcome: str
    who: str
    reason: str

    def as_json(self) -> dict[str, Any]:
        """Return the entry as JSON values."""
        return dict(vars(self))


def collate(
    host: str, journal: Iterable[Mapping[str, Any]], live_run: str | None = None
) -> list[RunEntry]:
    """Return the runs in `journal` (oldest line first), oldest run first.

    `live_run` is the id of a run that is going on now, if any: its missing end is no failure. A
    run whose beginning was cut off the journal's tail is told from what is left of it.
    """
    runs: dict[str, list[Mapping[str, Any]]] = {}
    order: list[list[Mapping[str, Any]]] = []
    for line in journal:
        run = line.get("run")
        if not run:
            order.append([line])
        elif run in runs:
            runs[run].append(line)
        else:
            order.append(runs.setdefault(str(run), [line]))
    return [_entry(host, lines, live_run) for lines in order]


def live_run(state: Mapping[str, Any]) -> str | None:
    """Return the id of the run in progress; without a lease its operator is gone, so it is not."""
    run = state.get("run") or {}
    return str(run["run"]) if run.get("run") and state.get("lock") else None


def _entry(host: str, lines: list[Mapping[str, Any]], live_run: str | None) -> RunEntry:
    events = [str(line.get("event", "")) for line in lines]
    decisive = max(
        (event for event in events if event in _DECISIVE), key=_DECISIVE.index, default=None
    )
    run = lines[0].get("run")
    last = decisive or events[-1]
    return RunEntry(
        host=host,
        run=run,
        command=_command(run, events[0], _first(lines, "command")),
        release=_first(lines, "release"),
        before=_first(lines, "from"),
        started=str(lines[0].get("t", "")),
        seconds=_seconds(lines),
        event=last,
        outcome=_outcome(run, decisive, events, live_run),
        who=_first(lines, "who") or "",
        reason=_reason(lines, decisive),
    )


def _command(run: object, event: str, command: str | None) -> str:
    """Say what was asked for; an event outside a run, such as `maintenance on`, needs its kind."""
    if run or not command or command == event:
        return command or event
    return "lock stolen" if event == "stolen" else f"{event} {command}"


def _outcome(run: str | None, decisive: str | None, events: list[str], live_run: str | None) -> str:
    if run and run == live_run and decisive not in {"reverted", "failed", "retired"}:
        return f"running, last: {events[-1]}"
    if decisive:
        return _OUTCOME[decisive]
    # A run that only began; anything else in a run of its own (a backup, a restart) just happened.
    only_stages = set(events) <= {"begin", "rehearsed", "started", "gated"}
    return f"broken off after: {events[-1]}" if only_stages else "done"


def _reason(lines: list[Mapping[str, Any]], decisive: str | None) -> str:
    """Prefer why it ended badly over why it was begun."""
    if decisive in {"reverted", "failed"}:
        for line in reversed(lines):
            if line.get("event") == decisive and line.get("reason"):
                return str(line["reason"])
    return _first(lines, "reason") or ""


def _first(lines: list[Mapping[str, Any]], key: str) -> str | None:
    return next((str(line[key]) for line in lines if line.get(key)), None)


def _seconds(lines: list[Mapping[str, Any]]) -> float | None:
    if len(lines) < 2:
        return None
    try:
        first, last = (datetime.fromisoformat(str(lines[at]["t"])) for at in (0, -1))
        return round((last - first).total_seconds(), 1)
    except (KeyError, ValueError, TypeError):
        return None
