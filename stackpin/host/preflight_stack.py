"""What of a stack is on the host already, and whether it is well: one line, for a person."""

from __future__ import annotations

from stackpin.host import lock, pointer, runs
from stackpin.host.drivers import driver
from stackpin.host.errors import HostError
from stackpin.host.preflight_item import Item
from stackpin.host.stack import SLOTS, Stack

__all__ = ["deployment"]

EXPECTED = "none, or a live release that runs, and no abandoned run"


def deployment(stack: Stack) -> Item:
    """Tell the live release, how its slot is, and who works on the stack. Warns, never stops."""
    told: list[str] = []
    wrong: list[str] = []
    if not stack.installed:
        told.append("none")
    elif (release := pointer.live_release(stack)) is None:
        told.append("installed, nothing is live yet")
    else:
        slot = pointer.live_slot(stack)
        told.append(f"{release} is live" + (f" in {slot}" if slot else ""))
        if slot:
            state = _slot(stack, slot)
            (told if state == "active" else wrong).append(state)
    run = runs.load(stack) if stack.installed else None
    if run is not None and not runs.ended(run):
        stale = runs.stale(stack, run)
        text = f"run {run['run']} to {run['release']} is {run['stage']}"
        wrong += [f"{text}, abandoned: {stale}"] if stale else []
        told += [] if stale else [text]
    if lease := lock.shown(lock.current(stack)):
        told.append(f"locked by {lease['owner']} for {lease['age']:.0f} s")
    remedy = "See `stackpin status`; a deploy cleans up after a run that died, then goes on."
    return Item("deployment", not wrong, ", ".join(told + wrong), EXPECTED, remedy, "warn")


def _slot(stack: Stack, slot: str) -> str:
    """Say how the live slot is: active, or what is wrong with it."""
    try:
        shown = driver(stack).show(stack, SLOTS)[slot]
    except HostError as problem:
        return f"not asked: {problem.message}"
    health = shown.get("health")
    if shown["active"] == "active" and health not in (None, "healthy"):
        return str(health)
    return str(shown["active"])
