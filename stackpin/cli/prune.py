"""`stackpin prune`: remove old releases."""

# ruff: noqa: D301, PLC0415 -- click wants a real \b; imports on use keep --help fast

from __future__ import annotations

import click

from stackpin.cli.options import Target, assume_yes, confirm, target
from stackpin.cli.output import Output


@click.command()
@click.option(
    "--keep", type=click.IntRange(1, 1000), help="How many to keep, instead of keep_releases."
)
@assume_yes
@target
def prune(out: Output, target: Target, *, keep: int | None, yes: bool) -> int:
    """Remove old releases, after showing which; never the live, last good or a pinned one.

    \b
    Examples:
      stackpin prune inventories/prod crm
      stackpin prune inventories/prod crm --keep 2 --yes
    """
    from stackpin.care.fleet import ask, change, worst
    from stackpin.engine.session import open_session

    payload = {} if keep is None else {"keep": keep}
    with open_session(target.inventory, target.limit, target.data, stack=target.stack) as session:
        seen = ask(session, target.stack, "prune", {**payload, "dry": True})
        seen.report(out)
        goes = {key: answer["removed"] for key, answer in seen.values.items()}
        for (host, part), answer in seen.values.items():
            for release in answer["removed"]:
                out.line(f"{host}: {part}: remove {release}")
            for kept in answer.get("kept") or []:
                out.line(f"{host}: {part}: keep {kept['id']} ({kept['why']})")
        if not any(goes.values()):
            out.line("nothing to remove")
            out.document({"removed": [], "errors": seen.errors_json()})
            return seen.exit_code()
        confirm(out, f"Remove {sum(map(len, goes.values()))} releases as listed?", yes=yes)
        with change(session, target.stack, "prune"):
            done = ask(session, target.stack, "prune", payload, timeout=300)
    removed = [
        {"host": host, "stack": part, "release": release}
        for (host, part), answer in done.values.items()
        for release in answer["removed"]
    ]
    out.line(f"removed {len(removed)} releases")
    out.document({"removed": removed, "errors": done.errors_json()})
    done.report(out)
    return worst(seen.exit_code(), done.exit_code())
