"""When a run stops: taking the hosts that serve the new release back as well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from stackpin.rollout.inverse import note_way
from stackpin.rollout.model import Roll, Run
from stackpin.rollout.stages import SWITCHING, Stage

__all__ = ["go_back", "goes_back"]

RollOut = Callable[[Run, Sequence[Stage]], Run]


def goes_back(run: Run) -> bool:
    """Tell whether this run takes confirmed hosts back after it had to stop."""
    return (run.request.on_failure or run.request.stack.on_failure) == "rollback"


def go_back(run: Run, roll_out: RollOut) -> None:
    """Return every host that `run` confirmed to what it served before, through the same gates.

    Of a run that was not stopped only hosts where another part of the same installation failed.
    The last part first (see `Run.order`). A host that served nothing before stays, and so does one
    whose way back fails: both are said.
    """
    done = [
        roll
        for roll in run.rolls
        if roll.confirmed and roll.outcome == "serving" and (run.stopped or run.failed_beside(roll))
    ]
    for roll in [roll for roll in done if not _left_something(roll)]:
        why = "it served nothing before" if roll.now is None else "it served that before, too"
        run.notes.append(f"{roll.host} {roll.part}: stays on {roll.wanted}: {why}")
    back = {
        (roll.host, roll.part): Roll(roll.host, roll.part, roll.wanted, roll.now)
        for roll in done
        if _left_something(roll)
    }
    if not back:
        return
    run.progress.say(f"going back on {', '.join(dict.fromkeys(host for host, _ in back))}")
    request = replace(
        run.request,
        command="rollback",
        # As far back as possible: one host that fails does not keep the others.
        max_failures=len(back),
        on_failure="halt",
        rehearse=False,
        reason=f"{run.request.command} stopped",
    )
    way = replace(
        run,
        request=request,
        id=f"{run.id}-back",
        rolls=list(back.values()),
        notes=[],
        watches={},
        timings=[],
        inverse=[],
        stopped=False,
    )
    try:
        roll_out(way, SWITCHING)
    finally:
        run.notes += way.notes
        before = {(roll.host, roll.part): roll for roll in done}
        for one in sorted(back.values(), key=lambda roll: way.order.index(roll.part)):
            roll = before[one.host, one.part]
            _fold(roll, one)
            note_way(run, roll, one)


def _left_something(roll: Roll) -> bool:
    """Tell whether a host served another release before this run."""
    return roll.now is not None and roll.now != roll.wanted


def _fold(roll: Roll, way: Roll) -> None:
    """Note on a host's `roll` how its way back ended."""
    roll.timings += [{**one, "stage": f"back: {one['stage']}"} for one in way.timings]
    roll.public = way.public or roll.public
    told = f"\n{way.error}" if way.error else ""
    if way.confirmed:
        roll.confirmed, roll.outcome, roll.code = False, "rolled-back", 4
        roll.error = f"went back to {roll.now}, because the run stopped{told}"
    elif way.outcome in {"skipped", "failed", "pending"}:
        roll.code = 5
        roll.error = f"still serves {roll.wanted}: not taken back{told}"
    elif way.outcome == "rolled-back":
        roll.code = 5
        roll.error = f"still serves {roll.wanted}: it could not go back to {roll.now}{told}"
    else:
        roll.outcome, roll.code = "unknown", 5
        roll.error = f"the way back to {roll.now} failed{told}"
    roll.detail = roll.detail or way.detail
