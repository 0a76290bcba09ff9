"""Starting, stopping and restarting what is live, and the maintenance page."""

from __future__ import annotations

import json
import time
from typing import Any

from stackpin.host import disk, guard, journal, pointer, rollout, runs, slots
from stackpin.host.clock import now_text
from stackpin.host.drivers import driver
from stackpin.host.errors import refused
from stackpin.host.mutex import mutex, state_dir
from stackpin.host.stack import SLOTS, Stack
from stackpin.host.waiting import Target, check_once, wait_ready

__all__ = ["COMMANDS", "maintenance", "service"]

Payload = dict[str, Any]


def service(stack: Stack, payload: Payload) -> Payload:
    """Act on the live slot: service {action: start|stop|restart, who?, reason?}.

    -> {action, changed, slot, release, ready?, gap?, rollout?}; ready and gap in seconds, gap only
    when requests found nobody. A restart of a stack with overlap is a rollout of the same
    release into the other slot. stop leaves the slot file: a start, or the next boot, goes on.
    """
    action = payload.get("action")
    if action not in ("start", "stop", "restart"):
        raise refused(f"service: action {action!r}; expected start, stop or restart")
    if stack.is_static:
        return {"action": action, "changed": False, "slot": None, "release": None}
    guard.recover_stale(stack)
    release = pointer.live_release(stack)
    if release is None:
        raise refused(f"stack {stack.name}: no release is live, so there is nothing to {action}")
    drv, slot = driver(stack), slots.live_slot(stack)
    state = drv.show(stack, (slot,))[slot]["active"]
    answer: Payload = {"action": action, "slot": slot, "release": release}
    if action == "restart" and stack.overlap and state == "active":
        told = rollout.rollout(
            stack,
            {
                "release": release,
                "who": payload.get("who"),
                "reason": payload.get("reason"),
                "command": "restart",
                "rehearse": False,
                "force": True,
            },
        )
        return {**answer, "changed": True, "slot": told["slot"], "rollout": told}
    gap_from = time.monotonic()
    with mutex(stack):
        _require_no_run(stack)
        slot = slots.live_slot(stack)
        state = drv.show(stack, (slot,))[slot]["active"]
        if action == "start" and state == "active":
            return {**answer, "changed": False}
        if action in ("stop", "restart"):
            drv.stop(stack, *SLOTS)
        if action in ("start", "restart"):
            drv.start(stack, slot)
        journal.append(
            stack,
            "service",
            release=release,
            slot=slot,
            who=payload.get("who"),
            command=action,
            reason=payload.get("reason"),
        )
    if action == "stop":
        return {**answer, "changed": True}
    target = Target(stack, slot, release, since=time.time() - 1)
    ready = wait_ready(target, action, stack.start_timeout, lambda: None)
    gap = round(time.monotonic() - gap_from, 3) if action == "restart" else None
    with mutex(stack):
        if runs.ended(runs.load(stack)) and slots.live_slot(stack) == slot:
            drv.front(stack, slot)  # a stopped container lost its restart policy
    gate = check_once(target, {"slot"})
    return {**answer, "changed": True, "ready": ready, "gap": gap, "gate": gate}


def _require_no_run(stack: Stack) -> None:
    run = runs.load(stack)
    if run is not None and not runs.ended(run):
        raise refused(
            f"stack {stack.name}: run {run['run']} by {run.get('who')} is open "
            f"({run['stage']}); wait for its end",
            run=run["run"],
        )


def maintenance(stack: Stack, payload: Payload) -> Payload:
    """Let nginx answer 503, or not: maintenance {on, reason?, who?} -> {on, changed}."""
    on = payload.get("on")
    if not isinstance(on, bool):
        raise refused("maintenance: `on` must be true or false")
    with mutex(stack):
        path = stack.maintenance_file
        if path.exists() == on:
            return {"on": on, "changed": False}
        if on:
            state_dir(stack)
            # nginx stats it, so it is world-readable: the reason belongs in the journal.
            disk.atomic_write(path, (json.dumps({"since": now_text()}) + "\n").encode(), 0o644)
        else:
            disk.remove_file(path)
        journal.append(
            stack,
            "maintenance",
            release=pointer.live_release(stack),
            who=payload.get("who"),
            command="on" if on else "off",
            reason=payload.get("reason"),
        )
    return {"on": on, "changed": True}


COMMANDS = {"service": service, "maintenance": maintenance}
