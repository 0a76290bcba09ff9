"""`stackpin deploy`."""

# ruff: noqa: D301 -- click wants a real \b

from __future__ import annotations

from pathlib import Path

import click

from stackpin.cli.options import Target
from stackpin.cli.output import Output
from stackpin.cli.rolling import Asked, conduct, rolling

__all__ = ["deploy"]


@click.command()
@click.option(
    "--plan", "plan_file", type=click.Path(path_type=Path), help="Apply exactly this reviewed plan."
)
@rolling
def deploy(out: Output, target: Target, asked: Asked, plan_file: Path | None) -> int:
    """Bring the hosts of INVENTORY to what is declared for STACK, through the health gate.

    Shows the plan and asks; canary first, then in batches. A host whose gate fails goes back to
    the release it served, and the run stops. When there is nothing to do, it still verifies.

    \b
    Examples:
      stackpin deploy inventories/prod site
      stackpin deploy inventories/prod site --plan plan.json
      stackpin deploy inventories/prod crm --yes --batch 1,25%,100% --reason 'new settings'
      stackpin deploy inventories/prod xingrin --batch 1,10%,50%
      stackpin deploy inventories/prod xingrin-worker --limit node7
    """
    from stackpin.rollout.performing import perform  # noqa: PLC0415 - see cli/__init__

    return conduct(out, target, asked, perform, plan_file=plan_file)
