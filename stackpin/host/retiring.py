"""After a confirmation: let the old slot finish its requests, stop it, prune old releases."""

from __future__ import annotations

import time
from typing import Any

from stackpin.host import journal, pruning, runs
from stackpin.host.drivers import driver
from stackpin.host.mutex import mutex
from stackpin.host.progress import say
from stackpin.host.stack import Stack

__all__ = ["drain", "finish_retire"]

POLL = 0.2  # seconds


def finish_retire(stack: Stack, run: dict[str, Any]) -> dict[str, Any]:
    """Retire what a confirmed run replaced -> {drained, left, seconds, removed}; repeatable."""
    old = run["from_slot"]
    drained = drain(stack, old)
    with mutex(stack):
        now = runs.load(stack)
        if now is None or now["run"] != run["run"] or now["stage"] != "confirmed":
            return {**drained, "removed": [], "already": True}
        if old is not None:
            driver(stack).stop(stack, old)
            driver(stack).remove(stack, old)
        removed = pruning.prune(stack, keep=stack.keep_releases)["removed"]
        journal.append(
            stack,
            "retired",
            now["run"],
            release=now["from_release"],
            slot=old,
            who=now.get("who"),
            command=now.get("command"),
        )
        runs.save(stack, now, stage="retired", doing=None)
    return {**drained, "removed": removed}


def drain(stack: Stack, slot: str | None) -> dict[str, Any]:
    """Wait until a slot has no connection left, drain_seconds at most.

    Of a stack that runs one at a time it stopped long ago; its port may be the live one's now.
    """
    if slot is None or stack.is_static or not stack.overlap:
        return {"drained": True, "left": 0, "seconds": 0.0}
    drv = driver(stack)
    started = time.monotonic()
    while True:
        left = drv.connections(stack, slot)
        seconds = round(time.monotonic() - started, 3)
        if left == 0 or seconds > stack.drain_seconds:
            break
        time.sleep(POLL)
    if left:
        say(f"{drv.place(stack, slot)}: {left} connections left after {seconds:.1f} s, stopping it")
    return {"drained": left == 0, "left": left, "seconds": seconds}
