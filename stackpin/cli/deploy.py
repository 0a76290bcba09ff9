"""`stackpin deploy`."""

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
    """
    from stackpin.rollout.performing import perform  # noqa: PLC0415 - see cli/__init__

    return conduct(out, target, asked, perform, plan_file=plan_file)
