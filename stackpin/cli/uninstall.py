"""`stackpin uninstall`: remove a stack from its hosts."""

# ruff: noqa: D301, PLC0415 -- click wants a real \b; imports on use keep --help fast

from __future__ import annotations

import click

from stackpin.cli.options import Target, assume_yes, confirm, target
from stackpin.cli.output import Output


@click.command()
@click.option("--delete-backups", is_flag=True, help="Delete the backups as well.")
@click.option("--keep-data", is_flag=True, help="Leave the data, and the account that owns it.")
@click.option("--dry", is_flag=True, help="List what would go and what stays; remove nothing.")
@assume_yes
@target
def uninstall(
    out: Output, target: Target, *, delete_backups: bool, keep_data: bool, dry: bool, yes: bool
) -> int:
    """Remove a stack: lists exactly what will go and what stays, then asks for the stack's name.

    Backups stay unless told otherwise; the data goes after a last backup of it, unless --keep-data.
    The parts of a stack go in the opposite order of their rollout, so that what they share goes
    with the first part.

    What goes is compared with the list once more on the host: a list that changed meanwhile is
    refused.

    \b
    Examples:
      stackpin uninstall inventories/staging crm
      stackpin uninstall inventories/staging infracore --dry
      stackpin uninstall inventories/staging infracore --keep-data
      stackpin uninstall inventories/staging site --limit web2 --delete-backups
    """
    from stackpin.care import removal
    from stackpin.engine.session import open_session

    choice = {"keep_backups": not delete_backups, "keep_data": keep_data}
    with open_session(target.inventory, target.limit, target.data, stack=target.stack) as session:
        listed = removal.listed(session, target.stack, choice)
        listed.report(out)
        if listed.errors:
            return listed.exit_code()
        for (host, part), answer in listed.values.items():
            out.line(f"{host}: {part}:")
            for line in removal.lines(answer):
                out.line(f"  {line}")
        out.document({"listed": listed.values_json()})
        if not removal.anything(listed):
            out.line("nothing to remove")
            return 0
        if dry:
            return 0
        question = f"Remove {target.stack} from {', '.join(session.hosts)} as listed?"
        confirm(out, question, yes=yes, expect=target.stack)
        done = removal.remove(session, target.stack, listed, choice)
    for host, part in done.values:
        out.line(f"{host}: {part}: removed")
    out.document({"removed": done.values_json(), "errors": done.errors_json()})
    done.report(out)
    return done.exit_code()
