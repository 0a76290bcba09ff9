"""`stackpin rollback`."""

# ruff: noqa: D301 -- click wants a real \b

from __future__ import annotations

import click

from stackpin.cli.options import Target
from stackpin.cli.output import Output
from stackpin.cli.rolling import Asked, conduct, rolling

__all__ = ["rollback"]


@click.command()
@click.option("--to", metavar="RELEASE", help="A release id or version on the hosts.")
@rolling
def rollback(out: Output, target: Target, asked: Asked, to: str | None) -> int:
    """Return STACK to the recorded last good release, or to --to, through the same gate.

    The pin in group data follows, unless --limit leaves hosts out. Data is never restored.

    \b
    Examples:
      stackpin rollback inventories/prod crm
      stackpin rollback inventories/prod crm --to v1.0.0 --reason 'search is slow'
    """
    from stackpin.rollout.rollback import rollback as run_rollback  # noqa: PLC0415

    return conduct(out, target, asked, lambda run: run_rollback(run, say=out.note), to=to)
