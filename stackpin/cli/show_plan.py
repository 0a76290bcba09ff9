"""A plan in words: per host what would change, with diffs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stackpin.cli.output import Output

if TYPE_CHECKING:
    from stackpin.engine.plan import HostPlan, Plan, PlannedOp

__all__ = ["show_plan"]

MARKS = {"change": "~", "conditional": "?"}


def show_plan(out: Output, plan: Plan) -> None:
    """Print `plan`; hosts that would change in the same way are shown together."""
    groups: dict[str, list[str]] = {}
    for name, host in plan.hosts.items():
        groups.setdefault(_text(plan, name, host), []).append(name)
    for text, names in groups.items():
        out.line(f"{', '.join(names)}:")
        out.line(text)
    total = sum(len(plan.changes(host)) for host in plan.hosts)
    hosts = sum(1 for host in plan.hosts if plan.changes(host))
    if plan.in_sync:
        out.line(f"In sync: nothing to change on {len(plan.hosts)} host(s).")
    else:
        out.line(f"Plan {plan.digest[:12]}: {total} change(s) on {hosts} host(s).")


def _text(plan: Plan, name: str, host: HostPlan) -> str:
    lines: list[str] = []
    for part, release in host.releases.items():
        now, wanted = release["now"], release["wanted"]
        lines.append(
            f"  {part}: serves {now or 'nothing'}"
            + (f", would switch to {wanted}" if wanted != now else "")
        )
        for op in plan.changes(name, part):
            lines += _operation(op)
        if not plan.changes(name, part):
            lines.append("    in sync")
    return "\n".join(lines)


def _operation(op: PlannedOp) -> list[str]:
    lines = [f"  {MARKS.get(op.verdict, ' ')} {op.name}"]
    if op.verdict == "conditional":
        lines[0] += "  (only if something before it changes)"
    for change in op.changes:
        before, after = change["before"] or "absent", change["after"] or "absent"
        secret = "  (content is secret)" if change["secret"] else ""
        lines.append(f"      {change['kind']} {change['subject']}: {before} -> {after}{secret}")
        lines += [f"        {line}" for line in change["diff"]]
    return lines
