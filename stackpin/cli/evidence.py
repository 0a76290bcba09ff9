"""`stackpin evidence`: the record each deployment leaves."""

# ruff: noqa: D301, PLC0415 -- click wants a real \b; imports on use keep --help fast

from __future__ import annotations

from pathlib import Path

import click

from stackpin.cli.options import reporting
from stackpin.cli.output import Output
from stackpin.errors import StackpinError


@click.group()
def evidence() -> None:
    """List and verify the records that deployments leave under evidence/.

    \b
    Examples:
      stackpin evidence list
      stackpin evidence verify evidence/prod/crm/20261121T224501Z-v1.1.0
    """


@evidence.command("list")
@click.argument("inventory", required=False)
@click.argument("stack", required=False)
@click.option("--root", default="evidence", show_default=True, help="The folder of all records.")
@reporting
def list_records(out: Output, *, inventory: str | None, stack: str | None, root: str) -> int:
    """List records, oldest first, of one inventory (its name or its file) and stack if given.

    \b
    Example:
      stackpin evidence list inventories/prod crm
    """
    from stackpin.evidence.listing import entries

    found = entries(Path(root), Path(inventory).stem if inventory else None, stack)
    rows, shown = [], []
    for entry in found:
        about = entry.manifest
        outcome = entry.problem or str(about.get("outcome", ""))
        hosts = ", ".join(about.get("hosts") or {})
        rows.append([str(entry.path), str(about.get("command", "")), outcome, hosts])
        shown.append({"path": str(entry.path), "problem": entry.problem, "manifest": about})
    if rows:
        out.table(["record", "command", "outcome", "hosts"], rows)
    else:
        out.line(f"no records below {root}")
    out.document({"records": shown})
    return 0


@evidence.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@reporting
def verify(out: Output, *, paths: tuple[str, ...]) -> int:
    """Check that records are as they were written; PATH is a record or a folder of records.

    Finds missing, extra and altered files and a changed manifest. Exit status 1 when a record is
    not as it was written.

    \b
    Examples:
      stackpin evidence verify evidence/prod/crm/20261121T224501Z-v1.1.0
      stackpin evidence verify evidence
    """
    from stackpin.evidence.listing import records_at
    from stackpin.evidence.verify import verify as verify_record

    bad = 0
    shown = []
    for record in [record for path in paths for record in records_at(Path(path))]:
        problems = verify_record(record)
        bad += bool(problems)
        out.line(f"{record}: {'as written' if not problems else 'NOT as written'}")
        for problem in problems:
            out.line(f"  {problem}")
        shown.append({"path": str(record), "problems": problems})
    out.document({"records": shown})
    if bad:
        raise StackpinError(f"{bad} of {len(shown)} records are not as they were written")
    return 0
