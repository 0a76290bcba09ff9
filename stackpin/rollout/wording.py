"""What became of a host, in words for people."""

from __future__ import annotations

from stackpin.rollout.model import Roll

__all__ = ["word"]

WORDS = {
    "in-sync": "in sync",
    "changed": "changed, same release",
    "serving": "serves the wanted release",
    "rolled-back": "rolled back",
    "failed": "failed before a switch",
    "unknown": "UNKNOWN: look now",
    "skipped": "not touched",
    "unreachable": "not reached, left for the next run",
    "pending": "not touched",
}


def word(roll: Roll) -> str:
    """Return what became of one part on one host."""
    if roll.code == 5 and roll.outcome in {"in-sync", "changed"}:
        return "NOT HEALTHY: look now"
    if roll.outcome == "rolled-back" and roll.deadline is None:
        return "refused, nothing was switched"
    return WORDS.get(roll.outcome, roll.outcome)
