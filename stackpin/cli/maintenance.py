"""`stackpin maintenance`: the page visitors see while work is going on."""

# ruff: noqa: D301, PLC0415 -- click wants a real \b; imports on use keep --help fast

from __future__ import annotations

import click

from stackpin.cli.options import Target, target
from stackpin.cli.output import Output


@click.command()
@click.argument("switch", type=click.Choice(["on", "off"]))
@click.option("--reason", default="", help="Why; goes into the journal.")
@target
def maintenance(out: Output, target: Target, *, switch: str, reason: str) -> int:
    """Switch the maintenance page on or off; nginx answers 503 with it while it is on.

    \b
    Examples:
      stackpin maintenance on inventories/prod crm --reason 'disk change'
      stackpin maintenance off inventories/prod crm
    """
    from stackpin.care.fleet import ask, change
    from stackpin.care.parts import keeper_of, slot_part
    from stackpin.engine.session import open_session
    from stackpin.rollout.model import whoami

    part = keeper_of(slot_part(target.stack))
    payload = {"on": switch == "on", "reason": reason, "who": whoami()}
    with (
        open_session(target.inventory, target.limit, target.data, stack=target.stack) as session,
        change(session, part, reason or f"maintenance {switch}"),
    ):
        answers = ask(session, part, "maintenance", payload)
    for host, _part in answers.values:
        out.line(f"{host}: {part}: maintenance {switch}")
    out.document({"maintenance": switch == "on", "errors": answers.errors_json()})
    answers.report(out)
    return answers.exit_code()
