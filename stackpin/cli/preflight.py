"""`stackpin preflight`."""

# ruff: noqa: D301 -- click wants a real \b

from __future__ import annotations

import click

from stackpin.cli.exit import Exit
from stackpin.cli.options import Target, target
from stackpin.cli.output import Output

__all__ = ["preflight"]

COLUMNS = ("name", "measured", "expected", "remedy")


@click.command()
@target
def preflight(out: Output, target: Target) -> int:
    """Ask the hosts of INVENTORY whether a deploy of STACK could work; nothing is changed.

    One line a question, with what was found and what is expected: resources, programs and their
    versions, network, clocks, ports, configuration, what is deployed already. Exit code 3 when
    one fails; a `warn` does not.

    \b
    Example:
      stackpin preflight inventories/prod site
    """
    from stackpin.config.stacks import stack  # noqa: PLC0415 - see cli/__init__
    from stackpin.engine.session import open_session  # noqa: PLC0415
    from stackpin.rollout.checking import check_inventory  # noqa: PLC0415
    from stackpin.rollout.connecting import left_out  # noqa: PLC0415
    from stackpin.rollout.preflighting import ask_hosts, complain  # noqa: PLC0415

    chosen = stack(target.stack)
    checked = check_inventory(
        target.inventory, chosen, target.limit, target.data, progress=out.note
    )
    places = {host: tuple(parts) for host, parts in checked.settings.items()}
    partial = chosen.tolerates_unreachable
    with open_session(
        target.inventory, target.limit, target.data, partial=partial, stack=chosen
    ) as session:
        away = left_out(session, places)
        found = ask_hosts(session, checked.settings, checked.artifacts)
    out.document({"hosts": found, **({"unreachable": away} if away else {})})
    for message in away.values():
        out.note(f"not asked: {message}")
    rows = [
        [host, part, _mark(item), *(item[key] for key in COLUMNS)]
        for host, parts in found.items()
        for part, items in parts.items()
        for item in items
    ]
    out.table(["host", "stack", "", "item", "found", "expected", "what to do"], rows)
    complain(found)
    return Exit.CHANGES if away else Exit.OK


def _mark(item: dict[str, object]) -> str:
    return "ok" if item["ok"] else str(item["severity"])
