"""The stages from the switch on: switch, probe, confirm, retire. The way back is armed first."""

from __future__ import annotations

import time
from typing import Any

from stackpin.host import pointer, runs, timer
from stackpin.host.clock import running_seconds
from stackpin.host.drivers import driver
from stackpin.host.errors import gate_failed, refused
from stackpin.host.gate import explain
from stackpin.host.mutex import mutex
from stackpin.host.progress import say
from stackpin.host.retiring import finish_retire
from stackpin.host.stack import Stack
from stackpin.host.stages import new_target, note
from stackpin.host.undo import clear_pending, settle_confirmed
from stackpin.host.waiting import Target, check_once, process_trouble, wait_healthy

__all__ = ["COMMANDS", "confirm", "probe", "retire", "switch"]

Payload = dict[str, Any]
CONFIRM_SPARE = 5.0  # seconds of the guard's time left for the confirmation itself


def switch(stack: Stack, payload: Payload) -> Payload:
    """Arm the guard and make the new release live: switch {run} -> {token, deadline, seconds, ...}.

    deadline: unix seconds by this host's clock; seconds: what is left of it. The caller confirms
    with the token in time, or the host takes the switch back by itself.
    """
    with mutex(stack):
        run, done = runs.enter(stack, payload.get("run"), "switch")
    if done:
        return _armed(stack, run, already=True)
    if not stack.is_static:
        target = new_target(stack, run)
        _require_healthy(target, "switch", {"slot"})
    with mutex(stack):
        run = runs.require(stack, run, "switch")
        pending = timer.arm(stack, run, stack.guard_seconds)
        try:
            # Recorded with the flip ahead: a crash between the two is undone like a flip.
            runs.save(stack, run, flipped=True)
            pointer.to_new(stack, run)
        except BaseException:
            pointer.to_old(stack, run)
            runs.save(stack, run, flipped=False)
            if stack.overlap or run["first"]:
                clear_pending(stack, run["run"])
            raise
        if not stack.is_static:
            # A failure in here is taken back by whoever aborts, or by the armed guard: half of
            # the names may point to the new one already.
            driver(stack).front(stack, run["to_slot"])
        note(stack, run, "switched")
        runs.save(stack, run, stage="switched", doing=None)
    say(f"switched to {run['release']}; the guard reverts in {stack.guard_seconds:g} s")
    return _armed(stack, run, pending=pending)


def _armed(
    stack: Stack, run: Payload, pending: Payload | None = None, *, already: bool = False
) -> Payload:
    pending = pending or runs.load_pending(stack) or {}
    left = float(pending.get("deadline_running", 0)) - running_seconds()
    return {
        "token": pending.get("token"),
        "deadline": pending.get("deadline"),
        "seconds": round(max(0.0, left), 3),
        "from": run["from_release"],
        "to": run["release"],
        "slot": run["to_slot"],
        "already": already,
    }


def _require_healthy(target: Target, stage: str, where: set[str]) -> Payload:
    trouble = process_trouble(target)
    result = check_once(target, where)
    if trouble or not result["passed"]:
        raise target.failure(stage, trouble or explain(result), result)
    return result


def probe(stack: Stack, payload: Payload) -> Payload:
    """Check the release that is live now: probe {run} -> {gate: GateResult, rounds, seconds}.

    Slot checks and the host's own checks, consecutive rounds after the settle time, ending early
    enough to leave time for the confirmation.
    """
    with mutex(stack):
        run, done = runs.enter(stack, payload.get("run"), "probe")
    if done:
        return {"already": True}

    def still() -> None:
        runs.require(stack, run, "probe")

    time.sleep(stack.gate.settle)
    # Nobody else looks for the first sign of life of what has no port; an operator's run does.
    least = stack.heartbeat_seconds if run.get("mode") == "self" else 0.0
    pending = runs.load_pending(stack) or {}
    left = float(pending.get("deadline_running", 0)) - running_seconds() - CONFIRM_SPARE
    proof = wait_healthy(
        new_target(stack, run),
        "probe",
        where={"slot", "host"},
        min_healthy=least,
        timeout=max(0.0, min(stack.gate.timeout + least, left)),
        still=still,
    )
    with mutex(stack):
        run = runs.require(stack, run, "probe")
        runs.save(stack, run, stage="probed", doing=None)
    return proof


def confirm(stack: Stack, payload: Payload) -> Payload:
    """Keep the new release: confirm {run, token} -> {confirmed: true, release, gate}.

    Raises HostError(gate or broken): the guard was first, or the last probe failed; (refused):
    wrong token.
    """
    with mutex(stack):
        run, done = runs.enter(stack, payload.get("run"), "confirm")
        if done:
            settle_confirmed(stack, run)
            return {"confirmed": True, "release": run["release"], "already": True}
        _require_in_time(stack, run, payload)
    result = _require_healthy(new_target(stack, run), "confirm", {"slot", "host"})
    with mutex(stack):
        # Decided here, once: whoever holds the mutex first, this or the guard, has won.
        run = runs.require(stack, run, "confirm")
        _require_in_time(stack, run, payload)
        if not pointer.at_new(stack, run):
            raise refused(
                f"run {run['run']}: traffic does not go to {run['release']} any more; "
                "somebody switched by hand: abort this run"
            )
        runs.save(stack, run, stage="confirmed", doing=None, serving=run["release"], proven=True)
        settle_confirmed(stack, run)
    say(f"confirmed {run['release']}")
    return {"confirmed": True, "release": run["release"], "gate": result}


def _require_in_time(stack: Stack, run: Payload, payload: Payload) -> None:
    pending = runs.load_pending(stack)
    if pending is None or pending.get("run") != run["run"]:
        raise gate_failed(f"run {run['run']}: no guard is armed for it; abort it", stage="confirm")
    if pending.get("token") != payload.get("token"):
        runs.save(stack, run, doing=None)
        raise refused(f"run {run['run']}: the token is not the one `switch` gave")
    if runs.expired(pending):
        raise gate_failed(
            f"run {run['run']}: the confirmation came after the guard's deadline; the host goes "
            f"back to {run['from_release'] or 'nothing'}",
            stage="confirm",
        )


def retire(stack: Stack, payload: Payload) -> Payload:
    """Drain and stop the old slot, prune: retire {run} -> {drained, left, seconds, removed}.

    left: connections still open when the drain time ended. Not undone by anything: it may fail
    and be repeated while the new release serves.
    """
    with mutex(stack):
        run = runs.load(stack)
        if run is not None and run["run"] == payload.get("run") and run["stage"] == "retired":
            return {"already": True}
        run, done = runs.enter(stack, payload.get("run"), "retire")
    return {"already": True} if done else finish_retire(stack, run)


COMMANDS = {"switch": switch, "probe": probe, "confirm": confirm, "retire": retire}
