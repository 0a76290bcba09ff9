"""The rule of the health gate: the score must be reached and no required check may fail.

Pure, so that the operator's side judges public checks by the same rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def evaluate(results: Sequence[Mapping[str, Any]], pass_score: float) -> dict[str, Any]:
    """Turn CheckResults into a GateResult.

    `pass_score` is a share, 0.0 to 1.0. A required check that fails fails the gate whatever the
    score, so that disk and memory never outvote a dead port. No checks at all score 1.0.
    Returns {passed, score, threshold, results, log: []}; the caller fills `log`.
    """
    total = sum(float(result["weight"]) for result in results)
    good = sum(float(result["weight"]) for result in results if result["ok"])
    score = good / total if total > 0 else 1.0
    required = all(result["ok"] for result in results if result["required"])
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
