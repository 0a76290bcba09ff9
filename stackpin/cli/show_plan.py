"""A plan in words: per host what would change, with diffs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stackpin.cli.output import Output

if TYPE_CHECKING:
    from stackpin.engine.plan import HostPlan, Plan, PlannedOp

__all__ = ["show_plan"]

MARKS = {"change": "~", "conditional": "?"}
MOST_LINES = 12  # of one diff, unless all are asked for


def show_plan(out: Output, plan: Plan, *, full: bool = False) -> None:
    """Print `plan`; hosts that would change in the same way are shown together.

    New files are shown by their size only and long diffs by their beginning, unless `full`.
    """
    groups: dict[str, list[str]] = {}
    for name, host in plan.hosts.items():
        groups.setdefault(_text(plan, name, host, full), []).append(name)
    for text, names in groups.items():
        out.line(f"{', '.join(names)}:")
        out.line(text)
    total = sum(len(plan.changes(host)) for host in plan.hosts)
    hosts = sum(1 for host in plan.hosts if plan.changes(host))
    if plan.in_sync:
        out.line(f"In sync: nothing to change on {len(plan.hosts)} host(s).")
    else:
        out.line(f"Plan {plan.digest[:12]}: {total} change(s) on {hosts} host(s).")


def _text(plan: Plan, name: str, host: HostPlan, full: bool) -> str:
    lines: list[str] = []
    for part, release in host.releases.items():
        now, wanted = release["now"], release["wanted"]
        lines.append(
            f"  {part}: serves {now or 'nothing'}"
            + (f", would switch to {wanted}" if wanted != now else "")
        )
        for op in plan.changes(name, part):
            lines += _operation(op, full)
        if not plan.changes(name, part):
            lines.append("    in sync")
    return "\n".join(lines)


def _operation(op: PlannedOp, full: bool) -> list[str]:
    lines = [f"  {MARKS.get(op.verdict, ' ')} {op.name}"]
    if op.verdict == "conditional":
        lines[0] += "  (only if something before it changes)"
    for change in op.changes:
        before, after = change["before"] or "absent", change["after"] or "absent"
        secret = "  (content is secret)" if change["secret"] else ""
        lines.append(f"      {change['kind']} {change['subject']}: {before} -> {after}{secret}")
        diff = change["diff"] if full else _excerpt(change["diff"], new=not change["before"])
        lines += [f"        {line}" for line in diff]
    return lines


def _excerpt(diff: list[str], *, new: bool) -> list[str]:
    """Leave out what nobody reads by default: the text of new files, the rest of long diffs."""
    if new and diff:
        return [f"({len(diff) - 3} lines: see `stackpin plan --full`)"]
    if len(diff) <= MOST_LINES:
        return diff
    return [
        *diff[:MOST_LINES],
        f"({len(diff) - MOST_LINES} more lines: see `stackpin plan --full`)",
    ]
