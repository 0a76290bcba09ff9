"""How a run ended, in words and as a document."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stackpin.cli.output import Output

if TYPE_CHECKING:
    from stackpin.rollout.model import Run

__all__ = ["report", "show_gate"]


def report(out: Output, run: Run) -> None:
    """Print what became of each host, why one failed, and where the evidence is."""
    from stackpin.rollout.wording import word  # noqa: PLC0415 - see cli/__init__

    for roll in run.rolls:
        release = roll.wanted if roll.confirmed else roll.now
        out.line(f"{roll.host} {roll.part}: {word(roll)} ({release or 'no release'})")
        if roll.code == 2:
            out.line(f"  {roll.error}".replace("\n", "\n  "))
        elif roll.error and roll.code:
            gate = roll.gate
            # The checks that follow say it in full.
            error = _short(roll.error) if gate else roll.error
            out.line(f"  at {roll.stage or 'verify'}: {error}".replace("\n", "\n  "))
            if gate:
                show_gate(out, gate, failed_only=True)
            else:
                _show_log(out, roll.detail.get("log") or [])
    for note in run.notes:
        out.note(note)
    for path in run.evidence:
        out.line(f"evidence: {path}")
    out.document(document(run))


def _short(error: str, limit: int = 160) -> str:
    """Cut the first line of `error` and keep the others, which say what serves."""
    first, *rest = error.splitlines() or [""]
    return "\n".join([textwrap.shorten(first, limit, placeholder=" …"), *rest])


def show_gate(out: Output, gate: Mapping[str, Any], *, failed_only: bool = False) -> None:
    """Print a GateResult: each check, what it expected and got, and the last log lines."""
    for check in gate.get("results", []):
        if check["ok"] and failed_only:
            continue
        mark = "ok  " if check["ok"] else ("FAIL" if check["required"] else "fail")
        weight = f"weight {check['weight']:g}" + (", required" if check["required"] else "")
        out.line(f"  {mark} {check['name']} ({check['where']}, {weight}, {check['seconds']:.2f} s)")
        if not check["ok"]:
            out.line(f"       asked    {check.get('detail', '')}")
            out.line(f"       expected {check['expected']}")
            out.line(f"       got      {check['got']}")
    if not gate.get("passed"):
        _show_log(out, gate.get("log") or [])


def _show_log(out: Output, lines: Sequence[str]) -> None:
    if lines:
        out.line("  last log lines:")
    for line in lines:
        out.line(f"    {line}")


def document(run: Run) -> dict[str, Any]:
    """Return the run as the JSON document of deploy, update and rollback."""
    hosts: dict[str, dict[str, Any]] = {}
    for roll in run.rolls:
        hosts.setdefault(roll.host, {})[roll.part] = {
            "outcome": roll.outcome,
            "code": roll.code,
            "release_before": roll.now,
            "release_wanted": roll.wanted,
            "serving": roll.serving,
            "stage": roll.stage,
            "error": roll.error or None,
            "gate": roll.gate if roll.code else roll.checks,
            "images": run.images.get(roll.host, {}).get(roll.part),
            "log": roll.detail.get("log") or [],
            "public": roll.public,
            "changed": list(roll.changed),
            "timings": roll.timings,
        }
    return {
        "run": run.id,
        "inventory": run.request.inventory,
        "stack": run.request.stack.name,
        "who": run.who,
        "in_sync": all(roll.outcome == "in-sync" for roll in run.rolls),
        "plan": run.planned.digest if run.planned else None,
        "hosts": hosts,
        "evidence": run.evidence,
        "notes": run.notes,
        "timings": run.timings,
    }
