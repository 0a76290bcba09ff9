"""`stackpin lock`: who is working on a stack."""

# ruff: noqa: D301, PLC0415 -- click wants a real \b; imports on use keep --help fast

from __future__ import annotations

import click

from stackpin.cli.default_group import default_group
from stackpin.cli.options import Target, assume_yes, confirm, target
from stackpin.cli.output import Output


@default_group("show")
def lock() -> None:
    """Show or steal the lease that keeps two operators from changing a stack at once.

    A lease expires by itself when its holder's heartbeat stops.

    \b
    Examples:
      stackpin lock inventories/prod crm
      stackpin lock steal inventories/prod crm --reason 'ann is on a plane'
    """


@lock.command()
@target
def show(out: Output, target: Target) -> int:
    """Show who holds the lease on each host, since when and why.

    \b
    Example:
      stackpin lock show inventories/prod crm --json
    """
    from stackpin.care import locks
    from stackpin.engine.session import open_session

    with open_session(
        target.inventory, target.limit, target.data, partial=True, stack=target.stack
    ) as session:
        answers = locks.shown(session, target.stack)
    for (host, part), answer in answers.values.items():
        out.line(f"{host}: {part}: {locks.describe(answer.get('lock'))}")
    out.document({"locks": answers.values_json(), "errors": answers.errors_json()})
    answers.report(out)
    return answers.exit_code()


@lock.command()
@click.option("--reason", required=True, help="Why; goes into the journal.")
@assume_yes
@target
def steal(out: Output, target: Target, *, reason: str, yes: bool) -> int:
    """End somebody else's lease: their run stops at its next step and is undone.

    \b
    Example:
      stackpin lock steal inventories/prod crm --reason 'ann is on a plane'
    """
    from stackpin.care import locks
    from stackpin.engine.session import open_session

    with open_session(target.inventory, target.limit, target.data, stack=target.stack) as session:
        held = locks.held(locks.shown(session, target.stack))
        if not held:
            out.line("nobody holds a lease: nothing to steal")
            out.document({"stolen": []})
            return 0
        for (host, part), lease in held.items():
            out.line(f"{host}: {part}: {locks.describe(lease)}")
        confirm(out, "End the leases above?", yes=yes)
        answers = locks.steal(session, held, reason)
    for host, part in answers.values:
        out.line(f"{host}: {part}: lease ended")
    stolen = [{"host": host, "stack": part} for host, part in answers.values]
    out.document({"stolen": stolen, "errors": answers.errors_json()})
    answers.report(out)
    return answers.exit_code()
