"""Which release is live, and pointing the traffic at another one, for both kinds of stack."""

from __future__ import annotations

from typing import Any

from stackpin.host import runs, slots, static
from stackpin.host.stack import Stack

__all__ = ["at_new", "live_release", "live_slot", "to_new", "to_old"]


def live_slot(stack: Stack) -> str | None:
    """Return the live slot; null for a static stack."""
    return None if stack.is_static else slots.live_slot(stack)


def live_release(stack: Stack) -> str | None:
    """Return the release that serves; None before the first one was switched to."""
    if stack.is_static:
        return static.live_release(stack)
    run = runs.load(stack)
    slot = slots.live_slot(stack)
    # The very first release sits in the slot the (absent) slot file names before it is proven.
    if (
        run is not None
        and run.get("first")
        and run.get("to_slot") == slot
        and not run.get("flipped")
    ):
        return None
    return slots.linked(stack, slot)


def at_new(stack: Stack, run: dict[str, Any]) -> bool:
    """Tell whether traffic goes to the run's new release."""
    if stack.is_static:
        return static.live_release(stack) == str(run["release"])
    return slots.live_slot(stack) == str(run["to_slot"])


def to_new(stack: Stack, run: dict[str, Any]) -> None:
    """Switch to the new release."""
    if stack.is_static:
        static.point(stack, run["release"])
    else:
        slots.flip(stack, run["to_slot"])


def to_old(stack: Stack, run: dict[str, Any]) -> None:
    """Switch back to what served before the run."""
    if stack.is_static:
        static.point(stack, run["from_release"])
    elif run["from_slot"] is not None:
        slots.flip(stack, run["from_slot"])
