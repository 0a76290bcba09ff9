"""`stackpin verify`."""

# ruff: noqa: D301, PLC0415 -- click wants a real \b; imports on use keep --help fast

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from stackpin.cli.exit import Exit
from stackpin.cli.options import Target, target
from stackpin.cli.output import Output
from stackpin.errors import Refused

if TYPE_CHECKING:
    from stackpin.rollout.model import Roll, Run

__all__ = ["verify"]


@click.command()
@click.option("--watch", is_flag=True, help="Verify again and again until Ctrl-C.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.5),
    metavar="S",
    help="With --watch: seconds from one round to the next. [default: 5]",
)
@click.option(
    "--count", type=click.IntRange(min=1), metavar="N", help="With --watch: end after N rounds."
)
@target
def verify(
    out: Output, target: Target, *, watch: bool, interval: float | None, count: int | None
) -> int:
    """Run the health gate of STACK alone: the host's checks and the public ones, once.

    Shows every check with its weight, those that are required, the score of every part, and the
    health score of each host over all of its parts. A part that is not required, such as a service
    of InfraCore outside infracore_required, may fail while the score of the host is high enough.

    With --watch it goes on: on a terminal a table that keeps itself up to date, elsewhere a line
    for each round and for each check that changed. Ctrl-C ends it.

    Exit code 0: passed; 5: what serves now is not healthy, look now. With --watch the last round's.

    \b
    Examples:
      stackpin verify inventories/prod site
      stackpin verify inventories/prod crm --limit web1 --json
      stackpin verify inventories/prod infracore --watch --interval 2
    """
    from stackpin.cli.progress import Lines
    from stackpin.config.stacks import stack
    from stackpin.rollout.model import Request, Run
    from stackpin.rollout.progress import Silent
    from stackpin.rollout.verifying import verify_all

    if not watch and (interval is not None or count is not None):
        raise Refused("--interval and --count: only with --watch")
    if watch and out.as_json and count is None:
        raise Refused("--json with --watch: a document that never ends; add --count N")
    request = Request(
        "verify", target.inventory, stack(target.stack), target.limit, data=target.data
    )
    run = Run(request, Silent() if watch else Lines(), lambda _run: None)
    with run.exits:
        if watch:
            from stackpin.cli.watching import watch as go_on

            return go_on(out, run, 5.0 if interval is None else interval, count)
        verify_all(run)
    _show(out, run)
    for note in run.notes:
        out.note(note)
    failed = [roll for roll in run.rolls if roll.failed]
    for roll in failed:
        out.error(f"{roll.host} {roll.part}: {roll.error}", kind="Unhealthy")
    if failed:
        return Exit.BROKEN
    return Exit.CHANGES if any(roll.code for roll in run.rolls) else Exit.OK


def _show(out: Output, run: Run) -> None:
    from stackpin.cli.report import show_gate
    from stackpin.rollout.verifying import overall

    by_host: dict[str, list[Roll]] = {}
    for roll in run.rolls:
        if roll.outcome == "unreachable":
            out.note(f"not asked: {roll.error}")
        else:
            by_host.setdefault(roll.host, []).append(roll)
    totals: dict[str, Any] = {}
    for host, rolls in by_host.items():
        for roll in rolls:
            gate = roll.checks or {}
            bad = "FAILED" if gate.get("required", True) else "failed, not required"
            word = "passed" if gate.get("passed") else bad
            out.line(f"{host} {roll.part}: {word}, score {gate.get('score', 0.0):.2f} ({roll.now})")
            show_gate(out, gate)
        total = overall([roll.checks for roll in rolls if roll.checks])
        word = "passed" if total["passed"] else "FAILED"
        needed = f"{total['threshold']:.0%} and every required check needed"
        out.line(f"{host}: health score {total['score']:.0%}, {word} ({needed})")
        totals[host] = {key: total[key] for key in ("passed", "score", "threshold")}
    hosts: dict[str, dict[str, Any]] = {}
    for roll in run.rolls:
        hosts.setdefault(roll.host, {})[roll.part] = roll.checks
    out.document({"hosts": hosts, "health": totals})
