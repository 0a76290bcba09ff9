"""A run as the document `06-run.json` of its evidence: what the page is made from, beside proof."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stackpin.evidence.collect import HostEvidence
from stackpin.rollout.model import Roll, Run
from stackpin.rollout.wording import word

__all__ = ["describe"]


def describe(
    run: Run, part: str, rolls: Sequence[Roll], found: Mapping[str, HostEvidence]
) -> dict[str, Any]:
    """Return {stack, part, options, opening, rolls, hosts, notes}.

    `opening` are the stages before the hosts' own ({stage, at, seconds}); `rolls` tell of every
    part of the run in a line each, `hosts` of `part` in full; `found` is what hosts answered last.
    """
    request = run.request
    return {
        "stack": request.stack.name,
        "part": part,
        "why": request.reason,
        "options": {
            "batches": list(request.batches),
            "limit": list(request.limit),
            "max_failures": request.max_failures,
            "on_failure": request.on_failure or request.stack.on_failure,
        },
        "opening": run.timings,
        "rolls": [_line(roll) for roll in run.rolls],
        "hosts": {roll.host: _full(run, roll, found.get(roll.host)) for roll in rolls},
        "notes": list(run.notes),
    }


def _line(roll: Roll) -> dict[str, Any]:
    return {
        "host": roll.host,
        "part": roll.part,
        "outcome": roll.outcome,
        "word": word(roll),
        "code": roll.code,
        "before": roll.now,
        "wanted": roll.wanted,
        "serving": roll.serving,
        "seconds": round(sum(one["seconds"] for one in roll.timings), 3),
    }


def _full(run: Run, roll: Roll, found: HostEvidence | None) -> dict[str, Any]:
    after = dict((found.inspect if found else None) or {}).get("machine")
    return {
        **_line(roll),
        "stage": roll.stage,
        "error": roll.error or None,
        "gate": roll.gate if roll.code else None,
        "log": list(roll.detail.get("log") or []),
        "changed": list(roll.changed),
        "machine": {"before": run.machines.get(roll.host) or None, "after": after},
    }
