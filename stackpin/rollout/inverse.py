"""What a run took back, as the document rollback.json: newest change first, step by step."""

from __future__ import annotations

from typing import Any

from stackpin.rollout.model import Roll, Run

__all__ = ["document", "note_undone", "note_way"]

LOG_LINES = 20


def note_undone(run: Run, roll: Roll, seconds: float) -> None:
    """Record that what was begun for `roll`, and not confirmed, was taken back in `seconds`."""
    run.inverse.append(_step(roll, "abort", (roll.wanted, roll.now), roll.outcome, seconds))


def note_way(run: Run, roll: Roll, way: Roll) -> None:
    """Record the `way` back of a `roll` that had been confirmed: through the same gates."""
    run.inverse.append(_step(way, "return", (way.now, way.wanted), roll.outcome, _seconds(way)))


def document(run: Run) -> dict[str, Any] | None:
    """Return {"cause": [...], "steps": [...]}; None when nothing was taken back.

    `cause` is what failed: {host, part, stage, error, log}. A step is {host, part, kind, from, to,
    outcome, seconds, error, log}, in the order done. Its kind is abort (begun, not confirmed),
    return (confirmed, then taken back) or rollback (asked for); its outcome is "rolled-back" when
    what `to` names was proven to serve, else that of the host's part.
    """
    steps = list(run.inverse)
    if run.request.command == "rollback":
        steps = [*_asked(run), *steps]
    if not steps:
        return None
    returned = {(step["host"], step["part"]) for step in steps if step["kind"] == "return"}
    cause = [
        {
            "host": roll.host,
            "part": roll.part,
            "stage": roll.stage,
            "error": roll.error,
            "log": _log(roll),
        }
        for roll in run.rolls
        if roll.failed and (roll.host, roll.part) not in returned
    ]
    return {"cause": cause, "steps": steps}


def _asked(run: Run) -> list[dict[str, Any]]:
    """Return the steps of the command `rollback`, those that went through."""
    return [
        _step(roll, "rollback", (roll.now, roll.wanted), "rolled-back", _seconds(roll))
        for part in run.order
        for roll in run.rolls
        if roll.part == part and roll.confirmed
    ]


def _step(
    roll: Roll, kind: str, way: tuple[str | None, str | None], outcome: str, seconds: float
) -> dict[str, Any]:
    good = outcome == "rolled-back"
    return {
        "host": roll.host,
        "part": roll.part,
        "kind": kind,
        "from": way[0],
        "to": way[1],
        "outcome": outcome,
        "seconds": round(seconds, 3),
        "error": "" if good else roll.error,
        "log": [] if good else _log(roll),
    }


def _seconds(roll: Roll) -> float:
    return sum(float(one["seconds"]) for one in roll.timings)


def _log(roll: Roll) -> list[str]:
    """Return the last lines the failed release wrote, as its host reported them."""
    gate = roll.detail.get("gate") or {}
    lines = roll.detail.get("log") or gate.get("log") or []
    return [str(line) for line in lines][-LOG_LINES:]
