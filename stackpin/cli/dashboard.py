"""`stackpin dashboard`: the page of a whole inventory."""

# ruff: noqa: D301, PLC0415 -- click wants a real \b; imports on use keep --help fast

from __future__ import annotations

from pathlib import Path

import click

from stackpin.cli.options import parse_data, reporting
from stackpin.cli.output import Output


@click.command()
@click.argument("inventory")
@click.option("--out", "folder", default="dashboard", show_default=True, help="Where it goes.")
@click.option("--evidence", default="evidence", show_default=True, help="Where records are.")
@click.option("--limit", multiple=True, metavar="HOST", help="Only these hosts or groups.")
@click.option("--data", "pairs", multiple=True, metavar="KEY=VALUE", help="Override a variable.")
@reporting
def dashboard(
    out: Output,
    inventory: str,
    *,
    folder: str,
    evidence: str,
    limit: tuple[str, ...],
    pairs: tuple[str, ...],
) -> int:
    """Write a page about every stack and host of INVENTORY, as the hosts answer now.

    Health score and checks, what runs and what is pinned, findings, load, memory and disk, and the
    last runs with links to their reports: index.html and, as data, dashboard.json. Nothing on a
    host is changed. Hosts out of reach are shown as such.

    Exit status: 0, or 1 when a host could not be asked; 5 when a live release does not pass its
    gate. The page is written in every case.

    \b
    Examples:
      stackpin dashboard inventories/prod
      stackpin dashboard inventories/prod --out /srv/www/status --json
    """
    from gevent import monkey

    monkey.patch_all()
    from stackpin.care.overview import exit_code, overview
    from stackpin.report.dashboard import write

    names = tuple(name for part in limit for name in part.split(",") if name)
    document = overview(inventory, names, parse_data(pairs), Path(evidence))
    page = write(document, Path(folder))
    code = exit_code(document)
    for host in document["hosts"]:
        if host["error"]:
            out.note(f"stackpin: {host['error']}")
    out.line(str(page))
    out.document({"page": str(page), **document})
    return code
