"""Going over the hosts: part by part, batch by batch, stage by stage."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import gevent

from stackpin.config.stacks import STACKS
from stackpin.errors import Refused, StackpinError
from stackpin.rollout.going_back import go_back, goes_back
from stackpin.rollout.hooks import call_hook
from stackpin.rollout.model import Roll, Run
from stackpin.rollout.stages import ROLLING, Stage
from stackpin.rollout.undoing import undo_all, undo_silent
from stackpin.rollout.verifying import verify_roll

__all__ = ["batches", "parse_batches", "roll_out"]

# Stages that hosts without a new release go through as well, and those that files have none of.
FOR_FILES = {"backup", "apply"}
FOR_PROCESSES = {"rehearse", "start", "gate"}


def parse_batches(text: str) -> tuple[str, ...]:
    """Return ("1", "25%") for "1,25%"; refuse anything but counts and percentages."""
    sizes = tuple(part.strip() for part in text.split(","))
    for size in sizes:
        number = size.removesuffix("%")
        if not number.isdecimal() or int(number) < 1 or (size.endswith("%") and int(number) > 100):
            raise Refused(f"--batch {text}: found {size!r}, expected sizes like 1,25%,100%")
    return sizes


def batches(rolls: Sequence[Roll], sizes: Sequence[str]) -> Iterator[list[Roll]]:
    """Cut `rolls` into batches of `sizes` in turn, the last size repeating; % is of all."""
    rest, total, index = list(rolls), len(rolls), 0
    while rest:
        size = sizes[min(index, len(sizes) - 1)]
        number = int(size.removesuffix("%"))
        count = max(1, math.ceil(total * number / 100)) if size.endswith("%") else number
        yield rest[:count]
        rest, index = rest[count:], index + 1


def roll_out(run: Run, stages: Sequence[Stage] | None = None) -> Run:
    """Take every host that has changes through its batch; stop after too many failures.

    `stages` are those of a batch in order, ROLLING when None. What becomes of hosts confirmed
    before a stop is the request's `on_failure`.
    """
    for part in run.order:
        _leave_out(run, part)
        todo = [roll for roll in run.rolls if roll.part == part and roll.outcome == "pending"]
        for batch in batches(todo, run.request.batches):
            if run.stopped:
                for roll in batch:
                    roll.outcome = "skipped"
                continue
            try:
                _roll_batch(run, part, batch, ROLLING if stages is None else stages)
            except BaseException as error:
                interrupted = isinstance(error, KeyboardInterrupt)
                why = "interrupted by the operator" if interrupted else f"stopped by {error!r}"
                _give_up(run, batch, StackpinError(why))
                _end_early(run, batch, why)
                raise
            run.stopped = run.failures > run.request.max_failures or _decisive(run, part)
    if goes_back(run):
        go_back(run, roll_out)
    return run


def _leave_out(run: Run, part: str) -> None:
    """Skip `part` where another part of the installation failed: no host is to end half-way."""
    for roll in run.rolls:
        beside = run.failed_beside(roll) if roll.part == part and roll.alive else None
        if beside and roll.outcome == "pending" and run.request.command != "rollback":
            roll.outcome, roll.error = "skipped", f"{beside.part} failed on this host"


def _decisive(run: Run, part: str) -> bool:
    """Tell whether a host failed that judges the hosts of a later part: they cannot go on."""
    judges = {other.witness for other in run.request.stack.components()}
    return part in judges and any(roll.failed for roll in run.rolls if roll.part == part)


def _roll_batch(run: Run, part: str, batch: Sequence[Roll], stages: Sequence[Stage]) -> None:
    silent: list[gevent.Greenlet] = []
    try:
        for stage in stages:
            name = stage.__name__
            if name == "apply" and run.request.command == "rollback":
                continue
            rolls = [roll for roll in batch if _goes_through(run, roll, name)]
            if not rolls:
                continue
            errors = _perform(run, part, stage, rolls)
            failed = sorted(errors)
            if run.lease and STACKS[part].tolerates_unreachable:
                run.lease.excuse(errors)
            silent += undo_silent(run, rolls, errors)
            undo_all(run, rolls, errors)
            if failed and run.failures > run.request.max_failures:
                names = ", ".join(failed)
                # Stages go on for those confirmed: their old slots are still to be retired.
                _give_up(run, batch, StackpinError(f"stopped, because {names} failed"))
    finally:
        gevent.joinall(silent)
    changed = [roll for roll in batch if roll.outcome == "changed"]
    run.session.map(
        lambda host: verify_roll(run, next(roll for roll in changed if roll.host == host)),
        [roll.host for roll in changed],
    ).all()


def _goes_through(run: Run, roll: Roll, stage: str) -> bool:
    if stage in FOR_PROCESSES and run.settings[roll.host][roll.part].host_stack().kind == "static":
        return False
    return roll.alive and (roll.switches or stage in FOR_FILES)


def _perform(run: Run, part: str, stage: Stage, rolls: Sequence[Roll]) -> dict[str, Exception]:
    hosts = [roll.host for roll in rolls]
    try:
        if run.lease:
            run.lease.check()
        run.progress.stage(stage.__name__, hosts, part)
        call_hook(run, stage.__name__, hosts, part)
        return stage(run, rolls)
    except StackpinError as error:
        return dict.fromkeys(hosts, error)


def _give_up(run: Run, batch: Sequence[Roll], error: Exception) -> None:
    """Take back whatever of the batch is begun and not confirmed."""
    open_ = [roll for roll in batch if roll.begun and roll.alive and not roll.confirmed]
    undo_all(run, open_, {roll.host: error for roll in open_})
    for roll in batch:
        if roll.outcome == "pending" and not roll.confirmed:
            roll.outcome = "skipped"
            roll.error = str(error)


def _end_early(run: Run, batch: Sequence[Roll], why: str) -> None:
    """Say of confirmed releases that their old slots still run, and of later hosts: nothing."""
    for roll in batch:
        if roll.confirmed and not roll.retired and not roll.code:
            roll.code = 1
            roll.error = f"{why} before the old slot was retired; the next run does that"
    for roll in run.rolls:
        if roll.outcome == "pending" and not roll.confirmed:
            roll.outcome = "skipped"
