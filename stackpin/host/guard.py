"""Who takes a switch back: abort (an operator), guard (a timer), boot, recover (the next run)."""

from __future__ import annotations

import time
from typing import Any

from stackpin.host import pointer, runs, slots
from stackpin.host.clock import boot_id, running_seconds
from stackpin.host.drivers import driver
from stackpin.host.errors import failed, refused
from stackpin.host.mutex import mutex
from stackpin.host.progress import say
from stackpin.host.retiring import finish_retire
from stackpin.host.stack import Stack
from stackpin.host.undo import clear_pending, settle_confirmed, undo
from stackpin.host.waiting import Target, check_once, wait_ready

__all__ = ["COMMANDS", "abort", "boot", "guard", "recover", "recover_stale"]

Payload = dict[str, Any]
EARLY = 5.0  # seconds a timer may fire before its deadline and still wait for it


def abort(stack: Stack, payload: Payload) -> Payload:
    """Undo a run: abort {run, reason} -> {acted, run, stage, serving, proven, first, reason}.

    Raises HostError(refused): the run is confirmed (roll back instead) or was never begun here.
    """
    run = runs.load(stack)
    run_id = str(payload.get("run"))
    if run is None or run["run"] != run_id:
        current = None if run is None else run["run"]
        raise refused(
            f"run {run_id} of {stack.name} is not the current one ({current}); nothing to undo",
            current=current,
        )
    answer = undo(stack, run_id, str(payload.get("reason") or "aborted"), who=payload.get("who"))
    if answer["stage"] in ("confirmed", "retired"):
        raise refused(
            f"run {run_id} is {answer['stage']}: it cannot be undone any more; roll back instead",
            **answer,
        )
    return answer


def guard(stack: Stack, payload: Payload) -> Payload:
    """Revert unless confirmed: guard {token} -> {acted, ...} as abort; for the timer."""
    token = str(payload.get("token"))
    pending = runs.load_pending(stack)
    if pending is None or pending.get("token") != token:
        return {"acted": False, "reason": "nothing pending with this token"}
    left = float(pending["deadline_running"]) - running_seconds()
    if pending.get("boot") == boot_id() and left > 0:
        if left > EARLY:
            raise refused(f"the guard of {stack.name} is not due for {left:.0f} s", left=left)
        time.sleep(left)
    return undo(
        stack,
        str(pending["run"]),
        "guard: not confirmed by deadline",
        who="guard",
        pending_token=token,
    )


def recover(stack: Stack, payload: Payload) -> Payload:  # noqa: ARG001 (all commands look alike)
    """Clean up after a run nobody drives any more: recover {} -> {recovered, why, run, stage...}.

    A switched but unconfirmed run is reverted, a confirmed one completed, any other one cleaned
    away; a run that is still driven is left alone. Safe to repeat.
    """
    return recover_stale(stack)


def recover_stale(stack: Stack, why: str | None = None) -> Payload:
    """Do what `recover` does; `why` given: the run is known to be abandoned."""
    with mutex(stack):
        run = runs.load(stack)
        pending = runs.load_pending(stack)
        if run is None or runs.ended(run):
            if pending is not None:
                clear_pending(stack, str(pending["run"]))
            return {"recovered": False, "why": None, "run": None, "stage": None}
        why = why or runs.stale(stack, run)
        if why is None:
            told = {"recovered": False, "why": None, "run": run["run"], "stage": run["stage"]}
            return {**told, "doing": run.get("doing")}
        if run["stage"] == "confirmed":
            settle_confirmed(stack, run)
    if run["stage"] == "confirmed":
        finish_retire(stack, run)
        return {"recovered": True, "why": why, "run": run["run"], "stage": "retired"}
    told = {"not confirmed by deadline": "guard: ", "rebooted before confirm": "guard: "}
    answer = undo(stack, str(run["run"]), told.get(why, "recovered: ") + why, who="recover")
    return {**answer, "recovered": True, "why": why}


def boot(stack: Stack, payload: Payload) -> Payload:  # noqa: ARG001 (all commands look alike)
    """Bring the stack up after a start of the host: boot {} -> {live_slot, live_release, ready}.

    A run cut off by the restart is taken back (or completed, if confirmed) first. Whatever goes
    wrong with that, the live slot is started; only then HostError(error) is raised, and systemd
    tries again.
    """
    recovered: Payload | None = None
    problem: Exception | None = None
    try:
        recovered = _recover_after_restart(stack)
    except Exception as error:  # a full disk, say, is no reason to serve nothing
        problem = error
        say(f"{stack.name}: cleaning up after the restart failed: {error}; starting what is live")
    answer = {**_start_live(stack), "recovered": recovered}
    if problem is not None:
        raise failed(
            f"{stack.name}: started what is live, but cleaning up after the restart failed: "
            f"{problem}; it is tried again",
            **answer,
        ) from problem
    return answer


def _recover_after_restart(stack: Stack) -> Payload | None:
    run = runs.load(stack)
    if run is None or runs.ended(run):
        return None
    why = runs.stale(stack, run)
    if run.get("boot") != boot_id():
        # No process of it is left, whatever its operator still believes.
        armed = runs.load_pending(stack) is not None
        why = "rebooted before confirm" if armed else "the host was restarted"
    return None if why is None else recover_stale(stack, why)


def _start_live(stack: Stack) -> Payload:
    slot, release = pointer.live_slot(stack), pointer.live_release(stack)
    answer: Payload = {"live_slot": slot, "live_release": release, "ready": None, "passed": None}
    if slot is None or release is None:
        return answer
    with mutex(stack):
        slot, release = slots.live_slot(stack), pointer.live_release(stack)
        if release is None:
            return answer
        drv = driver(stack)
        if not drv.installed(stack, slot):
            drv.install(stack, slot, release)
        if drv.show(stack, (slot,))[slot]["active"] in ("inactive", "failed"):
            drv.start(stack, slot)
    target = Target.running(stack, slot, release)
    seconds = wait_ready(target, "boot", stack.start_timeout, lambda: None)
    with mutex(stack):
        # Docker brings back both slots when it was killed between two steps of a switch.
        if runs.ended(runs.load(stack)) and slots.live_slot(stack) == slot:
            drv.front(stack, slot)
    passed = check_once(target, {"slot"})["passed"]
    say(f"{stack.name}: {release} answers in slot {slot} after {seconds:.1f} s")
    return {
        "live_slot": slot,
        "live_release": release,
        "ready": seconds,
        "passed": passed,
    }


COMMANDS = {"abort": abort, "guard": guard, "recover": recover, "boot": boot}
