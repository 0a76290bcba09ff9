"""When a host fails: take the run back there, and find out what serves now."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import gevent

from stackpin.config.stacks import STACKS
from stackpin.engine.remote import RemoteError, RemoteLost, RemoteRefused
from stackpin.rollout.inverse import note_undone
from stackpin.rollout.model import Roll, Run

__all__ = ["undo", "undo_all", "undo_silent"]

# Seconds after the guard's deadline (or after now, before a switch) in which we go on asking.
PATIENCE = 45.0
PAUSE = 2.0
ABORT_MARGIN = 90.0


def undo_all(run: Run, rolls: Sequence[Roll], errors: dict[str, Exception]) -> None:
    """Undo every roll whose host is in `errors`, all at the same time."""
    by_host = {roll.host: roll for roll in rolls if roll.host in errors}
    run.session.map(lambda host: undo(run, by_host[host], errors[host]), list(by_host)).all()


def undo_silent(
    run: Run, rolls: Sequence[Roll], errors: dict[str, Exception]
) -> list[gevent.Greenlet]:
    """Begin to undo the nodes that fell silent, taking them out of `errors`; return the work.

    Such a node is asked until its guard must have fired. The others of the batch do not wait for
    that: their own guards would fire meanwhile.
    """
    others = [roll for roll in rolls if roll.alive and roll.host not in errors]
    work = []
    for roll in rolls:
        error = errors.get(roll.host)
        if not (others and isinstance(error, RemoteLost) and error.host == roll.host):
            continue
        if not STACKS[roll.part].tolerates_unreachable:
            continue
        del errors[roll.host]
        roll.error = str(error)
        roll.outcome, roll.code = "unknown", 5
        work.append(gevent.spawn(undo, run, roll, error))
    return work


def undo(run: Run, roll: Roll, error: BaseException) -> None:
    """Take back what was begun on one host because of `error`, and classify what is left.

    Sets the roll's outcome, code and error. A confirmed release stays: the gate had passed.
    """
    roll.error = roll.error or str(error) or type(error).__name__
    roll.detail = roll.detail or dict(getattr(error, "detail", {}))
    if roll.confirmed:
        roll.outcome, roll.code = "serving", 1
        return
    if not roll.begun:
        roll.outcome = "failed"
        # Only before `apply` is nothing touched yet, and the error's own code right.
        refused = roll.stage == "backup" and isinstance(error, RemoteRefused)
        roll.code = 3 if refused else 1
        return
    run.progress.host(roll.host, "abort", "run", roll.error)
    begun = time.monotonic()
    answer = _settle(run, roll)
    run.timed(roll.timings, "abort", begun)
    _classify(run, roll, answer)
    note_undone(run, roll, time.monotonic() - begun)
    if roll.code == 4 and roll.stage == "rehearse" and isinstance(error, RemoteRefused):
        roll.code = 3  # declined, as a schema without its step is: no gate failed
    run.progress.host(roll.host, "abort", "ok" if roll.code in {3, 4} else "fail", roll.outcome)


def _settle(run: Run, roll: Roll) -> dict[str, Any] | None:
    """Abort the run on the host and return how it ended there; None when the host keeps silent."""
    # The guard reverts by itself at its deadline: as long as it may, the answer is worth a wait.
    patience = max(roll.deadline or 0.0, time.monotonic()) + PATIENCE
    start_timeout = run.settings[roll.host][roll.part].host_stack().start_timeout
    payload = {"run": run.id, "reason": roll.error[:500], "who": run.who}
    while True:
        try:
            return run.session.call(
                roll.host, "abort", roll.part, payload, timeout=start_timeout + ABORT_MARGIN
            )
        except RemoteLost as silence:
            if time.monotonic() > patience:
                roll.error += f"\n{silence}"
                return None
            _come_back(run, roll.host)
        except RemoteRefused as error:
            return _refused(run, roll, error)
        except RemoteError as error:
            roll.error += f"\nabort: {error.message}"
            return error.detail


def _refused(run: Run, roll: Roll, error: RemoteRefused) -> dict[str, Any] | None:
    """Say how a run ended whose abort the host declined: ended, never begun, or lease lost."""
    if error.detail.get("stage"):
        return error.detail
    if "current" in error.detail and roll.stage == "begin":
        return {"stage": "never-begun"}
    roll.error += f"\nabort: {error.message}"
    try:
        # Anybody may ask this, also without the lease.
        state = run.session.call(roll.host, "state", roll.part)
    except RemoteError as silence:
        roll.error += f"\nstate: {silence.message}"
        return {"stage": "lost"}
    record = dict(state.get("run") or {})
    if record.get("run") != run.id:
        ends = [line for line in state.get("journal") or [] if line.get("run") == run.id]
        record = {**ends[-1], "stage": ends[-1].get("event")} if ends else {}
        if not ends and roll.stage == "begin":
            return {"stage": "never-begun"}
    roll.error += f"\nthe host has this run as {record.get('stage') or 'unknown'}; {_armed(state)}"
    holder = state.get("lock") or {}
    if holder:
        roll.error += f"; lease held by {holder.get('owner')} ({holder.get('reason') or '-'})"
    return {"serving": state.get("live_release"), "first": roll.first, **record}


def _armed(state: Mapping[str, Any]) -> str:
    pending = state.get("pending")
    if not pending:
        return "no guard is armed"
    until = datetime.fromtimestamp(float(pending.get("deadline") or 0), UTC)
    return f"its guard is armed until {until:%Y-%m-%d %H:%M:%S} UTC by the host's clock"


def _come_back(run: Run, host: str) -> None:
    gevent.sleep(PAUSE)
    try:
        run.session.reconnect(host)
    except RemoteError:
        # Still away; the caller asks again until its patience ends.
        return


def _classify(run: Run, roll: Roll, answer: dict[str, Any] | None) -> None:
    if answer is None:
        left = "its guard reverts by itself" if roll.deadline else "its next run cleans up"
        roll.outcome, roll.code = "unknown", 5
        roll.error += (
            f"\n{roll.host} does not answer; {left}. What serves there is unknown: look with "
            f"`stackpin status {run.request.inventory} {roll.part}`"
        )
        return
    stage = answer.get("stage")
    if stage in {"confirmed", "retired"}:
        roll.confirmed = True
        roll.outcome, roll.code = "serving", 1
        roll.error += "\nthe host had confirmed it: the new release serves"
    elif stage == "never-begun":
        roll.outcome, roll.code = "failed", 1
    elif stage in {"reverted", "failed"} and (answer.get("proven") or answer.get("first")):
        roll.outcome, roll.code = "rolled-back", 4
        serving = answer.get("serving")
        roll.error += f"\nserving: {serving}, proven" if serving else "\nnothing served before"
    else:
        roll.outcome, roll.code = "unknown", 5
        serving = answer.get("serving") or "nothing known"
        roll.error += f"\nserving: {serving}, NOT proven healthy; look now"
