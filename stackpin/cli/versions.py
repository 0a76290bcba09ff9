"""`stackpin versions`: pinned, locked, running and newest."""

# ruff: noqa: D301, PLC0415 -- click wants a real \b; imports on use keep --help fast

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stackpin.cli.options import parse_data, reporting
from stackpin.cli.output import Output
from stackpin.errors import StackpinError

if TYPE_CHECKING:
    from stackpin.care.versions import Report

_SHORT = len("sha256:") + 12


@click.command()
@click.argument("inventory")
@click.argument("stack", required=False)
@click.option("--limit", multiple=True, metavar="HOST", help="Only these hosts or groups.")
@click.option("--data", "pairs", multiple=True, metavar="KEY=VALUE", help="Override a variable.")
@reporting
def versions(
    out: Output,
    inventory: str,
    stack: str | None,
    limit: tuple[str, ...],
    pairs: tuple[str, ...],
) -> int:
    """Show the pinned version, what each host runs, and the newest there is.

    Without STACK every pinned stack of the inventory. The registry says which releases have all
    their images (for a stack of files: the artifacts on this machine), and when the pinned one was
    built. Nothing is changed.

    Exit status: 0, or 1 when a host could not be asked. A registry that cannot be asked is noted.

    \b
    Examples:
      stackpin versions inventories/prod
      stackpin versions inventories/prod xingrin --json
    """
    from gevent import monkey

    monkey.patch_all()
    names = tuple(name for part in limit for name in part.split(",") if name)
    reports, code = _reports(out, inventory, stack, names, parse_data(pairs))
    out.document({"stacks": [report.as_json() for report in reports]})
    for report in reports:
        _show(out, report)
    return code


def _reports(
    out: Output, inventory: str, named: str | None, limit: tuple[str, ...], data: dict[str, Any]
) -> tuple[list[Report], int]:
    from stackpin.care.fleet import ask, worst
    from stackpin.care.versions import known, pinned_stacks, running
    from stackpin.engine.session import open_session
    from stackpin.engine.state import load_inventory
    from stackpin.rollout.checking import check_inventory
    from stackpin.rollout.pinning import current

    inventoried = load_inventory(inventory, data)
    variables = [host.data.dict() for host in inventoried]  # type: ignore[no-untyped-call]
    reports, code = [], 0
    for stack in pinned_stacks(named, variables):
        checked = check_inventory(inventory, stack, limit, data, artifacts=False)
        settings = [one for parts in checked.settings.values() for one in parts.values()]
        report = known(stack, current(Path(inventory), stack), settings, Path.cwd())
        hosts = list(checked.settings)
        try:
            with open_session(inventory, hosts, data, partial=True, stack=stack) as session:
                answers = ask(session, stack.name, "state")
        except StackpinError as error:  # no host at all could be asked
            report.notes.append(str(error))
            code = worst(code, 1)
        else:
            report.hosts = running(answers, report)
            answers.report(out)
            code = worst(code, answers.exit_code())
        reports.append(report)
    return reports, code


def _show(out: Output, report: Report) -> None:
    if out.as_json:
        return
    age = report.age(datetime.now(UTC))
    built = "" if age is None else f", built {age} day(s) ago"
    out.line(f"{report.stack}: {report.pin.value} pinned in {report.pin.path}{built}")
    if report.newest is not None:
        behind = report.behind
        told = f"{behind} newer" if behind else "nothing newer"
        out.line(f"newest: {report.newest} ({told})")
    if report.locked is not None:
        out.line(f"locked: {len(report.locked.images)} image(s) on {report.locked.locked}")
    rows = [
        [
            one.host,
            one.stack,
            one.release,
            one.digest[:_SHORT],
            one.error or ("NOT the locked digest" if one.locked is False else ""),
        ]
        for one in report.hosts
    ]
    out.table(["host", "stack", "running", "digest", "notes"], rows)
    for note in report.notes:
        out.note(f"stackpin: {note}")
