"""`stackpin status`: what each host runs."""

# ruff: noqa: D301, PLC0415 -- click wants a real \b; imports on use keep --help fast

from __future__ import annotations

from collections.abc import Mapping
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

    Of a stack with several services on a host each host has a table of its own: version, slot,
    state, health score, restarts, memory, processor time and last deploy of every service. The
    checks of such a stack always run.

    Exit status: 0, or 1 when a host could not be asked; 5 when the checks ran and a live release
    does not pass its gate, unless that is of a part which is not required.

    \b
    Examples:
      stackpin status inventories/prod crm
      stackpin status inventories/prod site --check --json
      stackpin status inventories/prod infracore
    """
    from stackpin.care.parts import shares_hosts
    from stackpin.care.survey import survey
    from stackpin.engine.session import open_session

    with open_session(
        target.inventory, target.limit, target.data, partial=True, stack=target.stack
    ) as session:
        side_by_side = shares_hosts(target.stack)
        answers, statuses = survey(session, target.stack, check=check or side_by_side)
    if side_by_side:
        _tables(out, target.stack, statuses)
    else:
        _table(out, statuses)
    out.document(
        {
            "hosts": [{"stack": part, **found.as_json()} for (_, part), found in statuses.items()],
            "errors": answers.errors_json(),
        }
    )
    answers.report(out)
    sick = [found.host for found in statuses.values() if found.healthy is False and found.required]
    if sick and not answers.errors:
        where = ", ".join(dict.fromkeys(sick))
        out.note(f"stackpin: gate not passed on {where}; `stackpin verify` says why")
        return 5
    return answers.exit_code()


def _table(out: Output, statuses: Mapping[tuple[str, str], HostStatus]) -> None:
    """Show a row per host, and per part where there are several."""
    several = len({part for _host, part in statuses}) > 1
    head = ["host", *(["stack"] if several else [])]
    columns = [*head, "live", "slot", "active", "since", "pin", "last run", "lock", "notes"]
    rows = []
    for (host, part), found in statuses.items():
        rows.append([host, *([part] if several else []), *_cells(found)])
    out.table(columns, rows)


def _tables(out: Output, stack: str, statuses: Mapping[tuple[str, str], HostStatus]) -> None:
    """Show a table per host with a row for each of its services."""
    from stackpin.care.parts import service_name

    columns = ["service", "version", "release", "slot", "state", "health", "restarts"]
    columns += ["memory", "cpu", "last deploy", "notes"]
    for host in dict.fromkeys(host for host, _part in statuses):
        rows = []
        for (name, part), found in statuses.items():
            if name == host:
                rows.append([service_name(stack, part), *_service(found)])
        out.table(columns, rows, title=host)


def _service(found: HostStatus) -> list[str]:
    health = ""
    if found.health is not None:
        health = f"{found.health:.0%} {'ok' if found.healthy else 'FAILED'}"
    memory = "" if found.memory_bytes is None else f"{found.memory_bytes / 2**20:.1f} MiB"
    return [
        found.version,
        found.release,
        found.slot,
        found.active,
        health,
        "" if found.restarts is None else str(found.restarts),
        memory,
        "" if found.cpu_seconds is None else f"{found.cpu_seconds:.1f} s",
        found.deployed,
        ", ".join([*_notes(found), *_beside(found)]),
    ]


def _beside(found: HostStatus) -> list[str]:
    pin = f"pin {found.pin.removesuffix(' (not live)')}" if "(not live)" in found.pin else ""
    return [text for text in (pin, f"lock: {found.lock}" if found.lock else "") if text]


def _cells(found: HostStatus) -> list[str]:
    notes = _notes(found)
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


def _notes(found: HostStatus) -> list[str]:
    """Say what is out of the ordinary."""
    notes = [found.error] if found.error else []
    if found.digest:
        notes.append(f"image {found.digest.removeprefix('sha256:')[:12]}")
    if found.maintenance:
        notes.append("maintenance on")
    return notes
