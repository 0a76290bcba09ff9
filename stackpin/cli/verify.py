"""`stackpin verify`."""

# ruff: noqa: D301 -- click wants a real \b

from __future__ import annotations

import click

from stackpin.cli.exit import Exit
from stackpin.cli.options import Target, target
from stackpin.cli.output import Output

__all__ = ["verify"]


@click.command()
@target
def verify(out: Output, target: Target) -> int:
    """Run the health gate of STACK alone: the host's checks and the public ones, once.

    Exit code 0: passed; 5: what serves now is not healthy, look now.

    \b
    Examples:
      stackpin verify inventories/prod site
      stackpin verify inventories/prod crm --limit web1 --json
    """
    from stackpin.cli.progress import Lines  # noqa: PLC0415 - see cli/__init__
    from stackpin.cli.report import show_gate  # noqa: PLC0415
    from stackpin.config.stacks import stack  # noqa: PLC0415
    from stackpin.rollout.model import Request, Run  # noqa: PLC0415
    from stackpin.rollout.verifying import verify_all  # noqa: PLC0415

    request = Request(
        "verify", target.inventory, stack(target.stack), target.limit, data=target.data
    )
    run = Run(request, Lines(), lambda _run: None)
    with run.exits:
        verify_all(run)
    for roll in run.rolls:
        if roll.outcome == "unreachable":
            out.note(f"not asked: {roll.error}")
            continue
        gate = roll.checks or {}
        word = "passed" if gate.get("passed") else "FAILED"
        score = gate.get("score", 0.0)
        out.line(f"{roll.host} {roll.part}: {word}, score {score:.2f} ({roll.now})")
        show_gate(out, gate)
    out.document(
        {
            "hosts": {
                host: {roll.part: roll.checks for roll in run.rolls if roll.host == host}
                for host in {roll.host: None for roll in run.rolls}
            }
        }
    )
    failed = [roll for roll in run.rolls if roll.failed]
    for roll in failed:
        out.error(f"{roll.host} {roll.part}: {roll.error}", kind="Unhealthy")
    if failed:
        return Exit.BROKEN
    return Exit.CHANGES if any(roll.code for roll in run.rolls) else Exit.OK
