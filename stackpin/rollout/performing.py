"""A whole run: opening stages, batches, closing stages, and one exit code."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from stackpin.engine.interrupts import interruptible, shielded
from stackpin.errors import Refused
from stackpin.rollout.closing import evidence, exit_code, unlock
from stackpin.rollout.hooks import HookFailed, call_hook
from stackpin.rollout.model import Run
from stackpin.rollout.opening import OPENING
from stackpin.rollout.rolling import roll_out
from stackpin.rollout.stages import ROLLING
from stackpin.rollout.telling import began, ended
from stackpin.rollout.verifying import verify_roll

__all__ = ["STAGES", "perform"]

Step = Callable[[Run], Run]
CLOSING: tuple[Step, ...] = (evidence, unlock)

# Every stage of a deploy by name, in order; a hook may stand before each.
STAGES: tuple[str, ...] = tuple(stage.__name__ for stage in (*OPENING, *ROLLING, *CLOSING))


def perform(run: Run, opening: Sequence[Step] = OPENING) -> int:
    """Take `run` through its stages and return the exit code.

    Raises what an opening stage raises: nothing was touched then. Whatever happens, the lease is
    given back and the connections are closed.
    """
    with run.exits:
        try:
            for step in opening:
                step_through(run, step)
            run.approved = True
            began(run)
            with interruptible():
                if all(roll.outcome in {"in-sync", "unreachable"} for roll in run.rolls):
                    _verify_in_sync(run)
                else:
                    roll_out(run)
        except BaseException as error:
            run.raised = error
            with shielded():
                _close(run)
                ended(run)
            raise
        with shielded():
            _close(run)
            ended(run)
    return exit_code(run)


def step_through(run: Run, step: Step) -> None:
    """Do one opening stage: its hook, itself, its time. A hook that fails refuses the run."""
    begun = time.monotonic()
    hosts = run.opened.hosts if run.opened else ()
    if run.lease:
        run.lease.check()
    run.progress.stage(step.__name__, hosts)
    try:
        call_hook(run, step.__name__, hosts)
    except HookFailed as error:
        raise Refused(f"{error}; nothing was touched") from error
    step(run)
    run.timed(run.timings, step.__name__, begun)


def _close(run: Run) -> None:
    """Evidence and unlock, whatever happened; a hook before them that fails is only noted."""
    for step in CLOSING:
        if run.opened is None or (step is evidence and not run.approved):
            continue
        run.progress.stage(step.__name__, run.opened.hosts)
        try:
            call_hook(run, step.__name__, run.opened.hosts)
        except HookFailed as error:
            run.notes.append(str(error))
        step(run)


def _verify_in_sync(run: Run) -> None:
    """Nothing to change is no proof of health: ask all the same."""
    run.progress.stage("verify", run.session.hosts)
    for part in run.parts:
        rolls = {
            roll.host: roll for roll in run.rolls if roll.part == part and roll.outcome == "in-sync"
        }
        run.session.map(lambda host, rolls=rolls: verify_roll(run, rolls[host]), list(rolls)).all()  # type: ignore[misc]
