"""The health gate: the score must be reached and no required check may fail.

`evaluate` and `explain` are pure: the operator's side judges public checks by the same rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stackpin.host import pointer, releases, slots
from stackpin.host.checks import run_checks
from stackpin.host.drivers import driver
from stackpin.host.errors import refused
from stackpin.host.stack import SLOTS, Stack

__all__ = ["COMMANDS", "evaluate", "explain", "unit_log", "verify"]


def evaluate(results: Sequence[Mapping[str, Any]], pass_score: float) -> dict[str, Any]:
    """Turn CheckResults into a GateResult.

    `pass_score` is a share, 0.0 to 1.0. A required check that fails fails the gate whatever the
    score, so that disk and memory never outvote a dead port. Checks that all weigh nothing, or none
    at all, score 1.0 unless a required one fails, then 0.0.
    Returns {passed, score, threshold, results, log: []}; the caller fills `log`.
    """
    total = sum(float(result["weight"]) for result in results)
    good = sum(float(result["weight"]) for result in results if result["ok"])
    required = all(result["ok"] for result in results if result["required"])
    score = good / total if total > 0 else float(required)
    return {
        # The epsilon forgives binary fractions: 0.1 + 0.2 + 0.45 must reach 0.75.
        "passed": bool(required and score + 1e-9 >= pass_score),
        "score": round(score, 4),
        "threshold": pass_score,
        "results": [dict(result) for result in results],
        "log": [],
    }


def explain(gate: Mapping[str, Any]) -> str:
    """One line on why a GateResult failed: each failed check, what it expected and what it got."""
    failed = [result for result in gate["results"] if not result["ok"]]
    failed.sort(key=lambda result: not result["required"])
    if gate["passed"] or not failed:
        return f"score {gate['score']:.2f} of {gate['threshold']:.2f} needed"
    told = [
        f"check {result['name']}: expected {result['expected']}, got {result['got']}"
        for result in failed
    ]
    if not any(result["required"] for result in failed):
        told.insert(0, f"score {gate['score']:.2f} below {gate['threshold']:.2f}")
    return "; ".join(told)


def unit_log(stack: Stack, slot: str, lines: int = 20) -> list[str]:
    """Return the last log lines of a slot, secrets masked."""
    release = slots.linked(stack, slot)
    env = releases.environment(stack, release, slot) if release else {}
    return driver(stack).last_log(stack, slot, env, lines=lines)


def verify(stack: Stack, payload: dict[str, Any]) -> dict[str, Any]:
    """Run the checks once, without waiting.

    payload: {where: [slot, host] (default both), slot: live|blue|green (default live)}. Returns a
    GateResult plus {slot, release, required}; a failed gate is an answer here, not an error, and
    `required` tells whether it makes the host unhealthy. Raises HostError(refused) when the slot
    runs no release.
    """
    where = set(payload.get("where") or ("slot", "host"))
    slot = None if stack.is_static else str(payload.get("slot") or "live")
    if slot == "live":
        slot = slots.live_slot(stack)
    if slot is not None and slot not in SLOTS:
        raise refused(f"slot {slot!r}: expected live, {' or '.join(SLOTS)}")
    release = pointer.live_release(stack) if slot is None else slots.linked(stack, slot)
    if release is None:
        raise refused(
            f"stack {stack.name}, slot {slot or 'live'}: no release there, nothing to verify; "
            "deploy one first"
        )
    address = None if slot is None else driver(stack).address(stack, slot)
    results = run_checks(
        stack,
        stack.checks,
        port=None if address is None else address[1],
        address=None if address is None else address[0],
        slot=slot,
        env=releases.environment(stack, release, slot),
        where=where if slot is not None else where - {"slot"},
        version=releases.version_of(stack, release),
    )
    gate = evaluate(results, stack.gate.pass_score)
    if slot is not None and not gate["passed"]:
        gate["log"] = unit_log(stack, slot)
    return {**gate, "slot": slot, "release": release, "required": stack.required}


COMMANDS = {"verify": verify}
