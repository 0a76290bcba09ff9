"""`stackpin status`: what each host runs."""

# ruff: noqa: D301, PLC0415 -- click wants a real \b; imports on use keep --help fast

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from stackpin.cli.options import Target, target
from stackpin.cli.output import Output

if TYPE_CHECKING:
    from stackpin.care.status import HostStatus


@click.command()
@click.option("--check", is_flag=True, help="Also run the health checks once and show the score.")
@target
def status(out: Output, target: Target, check: bool) -> int:
    """Show per host the live release and slot, the pin, the last outcome, lock and maintenance.

    Exit status: 0, or 1 when a host could not be asked; with --check 5 when a live release does
    not pass its gate.

    \b
    Examples:
      stackpin status inventories/prod crm
      stackpin status inventories/prod site --check --json
    """
    from stackpin.care.survey import survey
    from stackpin.engine.session import open_session

    with open_session(
        target.inventory, target.limit, target.data, partial=True, stack=target.stack
    ) as session:
        answers, statuses = survey(session, target.stack, check=check)
    several = len({part for _host, part in statuses}) > 1
    head = ["host", *(["stack"] if several else [])]
    columns = [*head, "live", "slot", "active", "since", "pin", "last run", "lock", "notes"]
    rows = []
    for (host, part), found in statuses.items():
        rows.append([host, *([part] if several else []), *_cells(found)])
    out.table(columns, rows)
    out.document(
        {
            "hosts": [{"stack": part, **found.as_json()} for (_, part), found in statuses.items()],
            "errors": answers.errors_json(),
        }
    )
    answers.report(out)
    sick = [found.host for found in statuses.values() if found.healthy is False]
    if sick and not answers.errors:
        out.note(f"stackpin: gate not passed on {', '.join(sick)}; `stackpin verify` says why")
        return 5
    return answers.exit_code()


def _cells(found: HostStatus) -> list[str]:
    notes = [found.error] if found.error else []
    if found.digest:
        notes.append(f"image {found.digest.removeprefix('sha256:')[:12]}")
    if found.maintenance:
        notes.append("maintenance on")
    if found.health is not None:
        notes.append(f"health {found.health:.2f} {'ok' if found.healthy else 'FAILED'}")
    return [
        found.release,
        found.slot,
        found.active,
        found.since,
        found.pin,
        found.last,
        found.lock,
        ", ".join(notes),
    ]
