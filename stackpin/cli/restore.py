"""`stackpin restore`: put a backup back."""

# ruff: noqa: D301, PLC0415 -- click wants a real \b; imports on use keep --help fast

from __future__ import annotations

import click

from stackpin.cli.options import Target, assume_yes, confirm, target
from stackpin.cli.output import Output


@click.command()
@target
@click.argument("snapshot", metavar="ID")
@assume_yes
def restore(out: Output, target: Target, *, snapshot: str, yes: bool) -> int:
    """Put backup ID (or `latest`) back on one host, after showing what would be lost.

    The service answers with the maintenance page meanwhile; a safety backup is taken first, and
    when the restored database does not serve, the previous one is put back. Exit status 4 then.

    \b
    Examples:
      stackpin restore inventories/prod crm latest --limit web1
      stackpin restore inventories/prod crm 4f9c2a1b --limit web1 --yes
    """
    from stackpin.care import restoring
    from stackpin.care.parts import keeper_of, only_host, slot_part
    from stackpin.engine.session import open_session

    part = keeper_of(slot_part(target.stack))
    with open_session(target.inventory, target.limit, target.data, stack=target.stack) as session:
        host = only_host(session, "restore")
        view = restoring.view(session, host, part, snapshot)
        for line in restoring.describe(view):
            out.line(line)
        out.document({"host": host, "view": view})
        confirm(out, f"Restore {part} on {host}?", yes=yes, expect=part)
        done = restoring.restore(session, host, part, view, out)
    out.document({"restored": done})
    out.line(f"{host}: {part}: restored and serving")
    return 0
