"""`stackpin backup`: take, list and verify backups."""

# ruff: noqa: D301, PLC0415 -- click wants a real \b; imports on use keep --help fast

from __future__ import annotations

import click

from stackpin.cli.default_group import default_group
from stackpin.cli.options import Target, target
from stackpin.cli.output import Output


@default_group("create")
def backup() -> None:
    """Take, list and verify backups: `stackpin backup INVENTORY STACK` takes one.

    A backup holds a consistent copy of the database, environment, units, settings and journal,
    encrypted and deduplicated by restic.

    \b
    Examples:
      stackpin backup inventories/prod crm --reason 'before the import'
      stackpin backup list inventories/prod crm
      stackpin backup verify inventories/prod crm
    """


@backup.command()
@click.option("--reason", default="on demand", show_default=True, help="Why; kept with it.")
@target
def create(out: Output, target: Target, *, reason: str) -> int:
    """Take a backup on every host, while the service runs.

    \b
    Example:
      stackpin backup create inventories/prod crm --reason 'before the import'
    """
    from stackpin.care import backups
    from stackpin.engine.session import open_session

    with open_session(target.inventory, target.limit, target.data, stack=target.stack) as session:
        answers = backups.create(session, target.stack, reason, out)
    for (host, part), made in answers.values.items():
        out.line(f"{host}: {part}: backup {backups.short(made)} taken")
    out.document({"backups": answers.values_json(), "errors": answers.errors_json()})
    answers.report(out)
    return answers.exit_code()


@backup.command("list")
@target
def list_backups(out: Output, target: Target) -> int:
    """List the backups each host has, oldest first.

    \b
    Example:
      stackpin backup list inventories/prod crm --json
    """
    from stackpin.care import backups
    from stackpin.engine.session import open_session

    with open_session(
        target.inventory, target.limit, target.data, partial=True, stack=target.stack
    ) as session:
        answers = backups.listed(session, target.stack)
    rows = [
        [host, part, *cells]
        for (host, part), found in answers.values.items()
        for cells in backups.rows(found)
    ]
    if rows:
        out.table(["host", "stack", "id", "taken", "release", "reason"], rows)
    elif not answers.errors:
        out.line(f"no backup yet; `stackpin backup {target.inventory} {target.stack}` takes one")
    out.document({"backups": answers.values_json(), "errors": answers.errors_json()})
    answers.report(out)
    return answers.exit_code()


@backup.command()
@click.option("--id", "snapshot", metavar="ID", help="This backup, not the latest.")
@target
def verify(out: Output, target: Target, *, snapshot: str | None) -> int:
    """Prove that backups can be restored: read everything, restore to a scratch folder, open it.

    \b
    Example:
      stackpin backup verify inventories/prod crm
    """
    from stackpin.care import backups
    from stackpin.engine.session import open_session

    with open_session(
        target.inventory, target.limit, target.data, partial=True, stack=target.stack
    ) as session:
        answers = backups.verified(session, target.stack, snapshot, out)
    for (host, part), found in answers.values.items():
        out.line(f"{host}: {part}: backup {backups.short(found)} restores")
        for table, count in ((found.get("database") or {}).get("tables") or {}).items():
            out.line(f"  {table}: {count} rows")
    out.document({"backups": answers.values_json(), "errors": answers.errors_json()})
    answers.report(out)
    return answers.exit_code()
