"""Taking a run back, by whoever must: operator, guard, boot or the next run.

Any number of them may do it at once and each may be killed at any point: every step looks at what
is, not at what was planned, and the end is recorded once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from stackpin.host import journal, pointer, runs, slots, timer
from stackpin.host.disk import remove_file
from stackpin.host.drivers import driver
from stackpin.host.errors import HostError
from stackpin.host.mutex import mutex
from stackpin.host.progress import say
from stackpin.host.stack import Stack
from stackpin.host.waiting import Target, check_once, process_trouble, wait_ready

__all__ = ["clear_pending", "settle_confirmed", "undo"]

PROOF_SECONDS = 15.0  # how long an old release that never stopped may take to prove itself
Run = dict[str, Any]


def undo(
    stack: Stack,
    run_id: str,
    reason: str,
    *,
    who: str | None = None,
    pending_token: str | None = None,
) -> dict[str, Any]:
    """Bring back what served before a run and record why.

    pending_token: for the guard; nothing is done unless that token is still pending.
    Returns {acted, stage, serving, proven, first, reason}: acted False when the run was confirmed
    or had ended before; proven True when the old release's slot checks passed.
    """
    armed = _still_pending(stack, pending_token) if pending_token else None
    with mutex(stack, evict_while=_in_the_way(stack, armed)):
        run = runs.load(stack)
        if run is None or run["run"] != run_id or (armed is not None and not armed()):
            return _told(run, acted=False)
        if run["stage"] in ("confirmed", "retired"):
            settle_confirmed(stack, run)
            return _told(run, acted=False)
        if runs.ended(run):
            clear_pending(stack, run_id)
            return _told(run, acted=False)
        _turn_back(stack, run, reason)
    serves, proven = _prove_old(stack, run)
    with mutex(stack):
        now = runs.load(stack)
        if now is None or now["run"] != run_id or runs.ended(now):
            return _told(now, acted=True)
        answer = _finish(stack, now, serves, proven, who)
    try:
        if not stack.is_static:
            driver(stack).clean(stack)
    except HostError as error:
        say(error.message)  # rubbish left behind is no reason to call a revert failed
    return answer


def _still_pending(stack: Stack, token: str) -> Callable[[], bool]:
    def armed() -> bool:
        pending = runs.load_pending(stack)
        return pending is not None and pending.get("token") == token

    return armed


def _in_the_way(stack: Stack, armed: Callable[[], bool] | None) -> Callable[[], bool] | None:
    """Make the question whether a holder of the mutex blocks a due revert, not performs one."""
    if armed is None:
        return None
    return lambda: armed() and (runs.load(stack) or {}).get("doing") != "abort"


def _turn_back(stack: Stack, run: Run, reason: str) -> None:
    """Send traffic back and start the old release before anything is written: disks fill up."""
    switched = bool(run.get("flipped")) or (not run["first"] and pointer.at_new(stack, run))
    if not stack.is_static and not stack.overlap and not run["first"]:
        # Both at once are what this stack cannot bear: the new one goes before the old comes.
        driver(stack).stop(stack, run["to_slot"])
    try:
        pointer.to_old(stack, run)
    finally:
        # Even when the pointer cannot move: nginx falls back to whichever slot answers.
        _start_old(stack, run)
    runs.save(
        stack,
        run,
        doing="abort",
        was_switched=run.get("was_switched") or switched,
        end_reason=run.get("end_reason") or reason,
    )


def _start_old(stack: Stack, run: Run) -> None:
    old = run["from_slot"]
    if old is None:
        return
    drv = driver(stack)
    if drv.show(stack, (old,))[old]["active"] in ("inactive", "failed"):
        if not drv.installed(stack, old):
            drv.install(stack, old, run["from_release"])
        drv.start(stack, old)


def _prove_old(stack: Stack, run: Run) -> tuple[bool, bool]:
    """Return whether the old release answers, and whether its checks passed."""
    release = run["from_release"]
    if release is None:
        return True, False
    target = Target.running(stack, run["from_slot"], release)
    try:
        wait_ready(target, "going back", stack.start_timeout, lambda: None)
    except HostError as error:
        say(error.message)
        return False, False
    _front_old(stack, run)
    where = {"host"} if stack.is_static else {"slot"}
    deadline, passes = time.monotonic() + PROOF_SECONDS, 0
    # Without a port running is all there is to see: once says little of what crashes in a moment.
    portless = stack.kind == "container"
    wanted = stack.gate.consecutive if portless else 1
    while True:
        good = check_once(target, where)["passed"]
        good = good and not (portless and process_trouble(target))
        passes = passes + 1 if good else 0
        if passes >= wanted:
            return True, True
        if time.monotonic() > deadline:
            return True, False
        time.sleep(stack.gate.interval)


def _front_old(stack: Stack, run: Run) -> None:
    """Direct names and traffic back, unless somebody else has finished this meanwhile."""
    if stack.is_static or run["from_slot"] is None:
        return
    with mutex(stack):
        now = runs.load(stack)
        if now is not None and now["run"] == run["run"] and not runs.ended(now):
            driver(stack).front(stack, run["from_slot"])


def _finish(stack: Stack, run: Run, serves: bool, proven: bool, who: str | None) -> dict[str, Any]:
    switched = bool(run.get("was_switched"))
    stage = "reverted" if switched else "failed"
    if not serves:
        stage = "broken"
    if not stack.is_static and (serves or not switched):
        # With the old one dead after a switch the new one stays up, as nginx's backup: it is
        # not proven, but the alternative is nothing at all.
        driver(stack).stop(stack, run["to_slot"])
        driver(stack).remove(stack, run["to_slot"])
    if run["first"]:
        if stack.is_static:
            pointer.to_old(stack, run)
        else:
            slots.unlink(stack, run["to_slot"])
    serving = run["from_release"] if serves else None
    if journal.outcome(journal.read(stack), run["run"]) is None:
        journal.append(
            stack,
            "reverted" if stage == "reverted" else "failed",
            run["run"],
            release=run["release"],
            slot=run["from_slot"],
            who=who or run.get("who"),
            command=run.get("command"),
            reason=run["end_reason"],
            serving=serving,
            proven=proven,
            **{"from": run["from_release"]},
        )
    clear_pending(stack, run["run"])
    runs.save(stack, run, stage=stage, doing=None, serving=serving, proven=proven)
    say(f"{stage}: {run['end_reason']}; serving {serving or 'nothing'}")
    return _told(run, acted=True)


def clear_pending(stack: Stack, run_id: str) -> None:
    """Disarm the guard of a run, if it is armed; call under the mutex."""
    pending = runs.load_pending(stack)
    if pending is not None and pending.get("run") == run_id:
        # In this order: a timer nobody knows of would be left by the other one.
        timer.disarm(stack, str(pending["token"]))
        remove_file(stack.pending_file)


def settle_confirmed(stack: Stack, run: Run) -> None:
    """Complete what a confirmation killed half-way left; call under the mutex, any number of times.

    run.json saying `confirmed` is the decision; the journal and the guard follow it.
    """
    lines = journal.read(stack)
    if journal.outcome(lines, run["run"]) != "confirmed":
        journal.append(
            stack,
            "confirmed",
            run["run"],
            release=run["release"],
            slot=run["to_slot"],
            who=run.get("who"),
            command=run.get("command"),
            reason=run.get("reason"),
            **{"from": run["from_release"]},
        )
    clear_pending(stack, run["run"])


def _told(run: Run | None, *, acted: bool) -> dict[str, Any]:
    run = run or {}
    won = run.get("stage") in ("confirmed", "retired")
    return {
        "acted": acted,
        "run": run.get("run"),
        "stage": run.get("stage"),
        "serving": run.get("release") if won else run.get("serving"),
        "proven": True if won else bool(run.get("proven")),
        "first": bool(run.get("first")),
        "reason": run.get("end_reason"),
    }
