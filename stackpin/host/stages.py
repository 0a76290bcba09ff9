"""The stages before the switch: begin, rehearse, start, gate. Nothing live changes in them.

Each is idempotent and refuses out of order. The mutex is held only around changes; while a stage
waits it asks each round whether the run is still its own (`runs.require`).
"""

from __future__ import annotations

import os
import time
from typing import Any

from stackpin.host import (
    guard,
    journal,
    lock,
    pointer,
    releases,
    runs,
    slots,
    timer,
)
from stackpin.host.clock import boot_id, now_text
from stackpin.host.drivers import driver
from stackpin.host.errors import refused
from stackpin.host.mutex import mutex
from stackpin.host.progress import say
from stackpin.host.stack import Stack
from stackpin.host.waiting import Target, wait_healthy, wait_ready

__all__ = ["COMMANDS", "begin", "gate", "note", "rehearse", "start"]

Payload = dict[str, Any]
ONE_AT_A_TIME_SPARE = 30.0  # seconds an early guard allows beyond the gates' own limits


def begin(stack: Stack, payload: Payload) -> Payload:
    """Open a run, after cleaning up a stale one.

    begin {run, release, who, reason, mode: operator|self, command, rehearse?, min_healthy?,
    lock_token?} -> {run: {...}, first, from, slot, recovered: {...}|null}. rehearse and
    min_healthy (seconds) override the stack's settings. Raises HostError(refused): another run is
    open, the release is not on this host, operator mode without a lease, or somebody else's
    container has a name of ours.
    """
    run_id, release = str(payload.get("run") or ""), str(payload.get("release") or "")
    mode = payload.get("mode") or "operator"
    if not run_id or mode not in ("operator", "self"):
        raise refused("begin: `run` must be given, `mode` be operator or self")
    current = runs.load(stack)
    if current is not None and current["run"] == run_id and current["release"] == release:
        return _begun(current, None)
    recovered = guard.recover_stale(stack)
    with mutex(stack):
        _require_startable(stack, release, mode, payload)
        first = pointer.live_release(stack) is None
        live = pointer.live_slot(stack)
        to_slot = live if live is None or first else slots.other(live)
        if stack.uses_images:
            driver(stack).require_free(stack, str(to_slot))
        options = {key: payload.get(key) for key in ("rehearse", "min_healthy")}
        run: Payload = {
            "run": run_id,
            "release": release,
            "from_release": pointer.live_release(stack),
            "from_slot": None if first else live,
            "to_slot": to_slot,
            # Of files there is nothing to rehearse, start or gate.
            "stage": "gated" if stack.is_static else "begun",
            "doing": None,
            "mode": mode,
            "command": payload.get("command") or "deploy",
            "who": payload.get("who"),
            "reason": payload.get("reason"),
            "first": first,
            "started": now_text(),
            "lock_token": payload.get("lock_token") if mode == "operator" else None,
            **(runs.process_mark(os.getpid()) if mode == "self" else {"boot": boot_id()}),
            "options": options,
        }
        runs.save(stack, run)
        note(stack, run, "begin")
    return _begun(run, recovered if recovered["recovered"] else None)


def _begun(run: Payload, recovered: Payload | None) -> Payload:
    shown = {key: value for key, value in run.items() if key != "lock_token"}
    return {
        "run": shown,
        "first": run["first"],
        "from": run["from_release"],
        "slot": run["to_slot"],
        "recovered": recovered,
    }


def _require_startable(stack: Stack, release: str, mode: object, payload: Payload) -> None:
    current = runs.load(stack)
    if not runs.ended(current) and current is not None:
        raise refused(
            f"stack {stack.name}: run {current['run']} by {current.get('who')} is open "
            f"({current['stage']}); wait for its end or, if it is dead, for its lease to end",
            run=current["run"],
            stage=current["stage"],
            who=current.get("who"),
        )
    if not releases.exists(stack, release):
        raise refused(
            f"release {release!r}: not complete in {stack.releases_dir}; send it with `receive`"
        )
    lease = lock.current(stack)
    if mode == "operator" and (lease is None or lease.get("token") != payload.get("lock_token")):
        raise refused(
            f"stack {stack.name}: an operator's run needs the lease, so that its death is "
            "noticed; take it with lock-acquire and give `lock_token`"
        )


def note(stack: Stack, run: Payload, event: str, **more: object) -> None:
    """Journal an event of a run."""
    journal.append(
        stack,
        event,
        run["run"],
        **{
            "release": run["release"],
            "from": run["from_release"],
            "slot": run["to_slot"],
            "who": run.get("who"),
            "command": run.get("command"),
            "reason": run.get("reason"),
            **more,
        },
    )


def rehearse(stack: Stack, payload: Payload) -> Payload:
    """Try the release on copies: rehearse {run} -> {skipped} or {ready, gate, rounds, seconds...}.

    Skipped where run or stack say so. The live database is only ever opened read-only.
    """
    with mutex(stack):
        run, done = runs.enter(stack, payload.get("run"), "rehearse")
    wanted = run["options"].get("rehearse")
    skipped = not (stack.rehearsal if wanted is None else wanted)
    if done:
        return {"already": True, "skipped": skipped}
    proof = (
        {}
        if skipped
        else driver(stack).rehearse(
            stack, run["release"], lambda: runs.require(stack, run, "rehearse")
        )
    )
    with mutex(stack):
        run = runs.require(stack, run, "rehearse")
        if not skipped:
            note(stack, run, "rehearsed", slot="rehearsal")
        runs.save(stack, run, stage="rehearsed", doing=None)
    return {"skipped": skipped, **proof}


def start(stack: Stack, payload: Payload) -> Payload:
    """Start the release in the idle slot: start {run} -> {slot, port, pid, ready, gap}.

    port: null for a slot without one. ready: seconds until it answered. gap: for stacks with
    overlap false, the seconds in which nothing answered, because the old slot stops first; else
    null.
    """
    with mutex(stack):
        run, done = runs.enter(stack, payload.get("run"), "start")
        if done:
            return {"already": True, "slot": run["to_slot"]}
    drv, slot = driver(stack), str(run["to_slot"])
    drv.pull(stack, run["release"])  # may take long, and nothing has changed yet
    with mutex(stack):
        run = runs.require(stack, run, "start")
        began, gap_from = time.time(), None
        drv.stop(stack, slot)
        drv.require_free(stack, slot)
        drv.install(stack, slot, run["release"])  # before the old one stops: that is the gap
        if not stack.overlap and run["from_slot"] is not None:
            # The old slot is about to stop serving: the way back is armed before, not at the
            # switch, and for as long as everything up to there may take.
            limit = stack.drain_seconds + stack.start_timeout + stack.gate.timeout
            timer.arm(stack, run, limit + stack.guard_seconds + ONE_AT_A_TIME_SPARE)
            gap_from = time.monotonic()
            drv.stop(stack, str(run["from_slot"]))
            drv.require_free(stack, slot)  # a port both share
        drv.start(stack, slot)
    say(f"starting {run['release']} in slot {slot}")
    target = Target(stack, slot, run["release"], since=began)
    ready = wait_ready(
        target, "start", stack.start_timeout, lambda: runs.require(stack, run, "start")
    )
    gap = None if gap_from is None else round(time.monotonic() - gap_from, 3)
    pid = drv.show(stack, (slot,))[slot]["main_pid"]
    address = drv.address(stack, slot)
    with mutex(stack):
        run = runs.require(stack, run, "start")
        runs.save(stack, run, stage="started", doing=None, pid_new=pid, began=began, gap=gap)
        note(stack, run, "started", gap=gap)
    if gap is not None:
        say(f"answers after a gap of {gap:.1f} s: the old one stopped first")
    port = None if address is None else address[1]
    return {"slot": slot, "port": port, "pid": pid, "ready": ready, "gap": gap}


def new_target(stack: Stack, run: Payload) -> Target:
    """Make the target for the run's new release: any restart since its start counts."""
    return Target(stack, run["to_slot"], run["release"], run.get("began"), 0, run.get("pid_new"))


def gate(stack: Stack, payload: Payload) -> Payload:
    """Wait until the idle slot is healthy: gate {run} -> {gate: GateResult, rounds, seconds}."""
    with mutex(stack):
        run, done = runs.enter(stack, payload.get("run"), "gate")
    if done:
        return {"already": True}
    wanted = run["options"].get("min_healthy")
    proof = wait_healthy(
        new_target(stack, run),
        "gate",
        where={"slot"},
        min_healthy=float(stack.gate.min_healthy if wanted is None else wanted),
        timeout=stack.gate.timeout,
        still=lambda: runs.require(stack, run, "gate"),
    )
    with mutex(stack):
        run = runs.require(stack, run, "gate")
        note(stack, run, "gated", score=proof["gate"]["score"])
        runs.save(stack, run, stage="gated", doing=None)
    return proof


COMMANDS = {"begin": begin, "rehearse": rehearse, "start": start, "gate": gate}
