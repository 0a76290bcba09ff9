"""`stackpin update`."""

# ruff: noqa: D301 -- click wants a real \b

from __future__ import annotations

import click

from stackpin.cli.options import Target
from stackpin.cli.output import Output
from stackpin.cli.rolling import Asked, conduct, rolling

__all__ = ["update"]


@click.command()
@click.option("--version", required=True, metavar="vX.Y.Z", help="The version to pin.")
@click.option("--allow-downgrade", is_flag=True, help="Accept a version older than the pin.")
@rolling
def update(out: Output, target: Target, asked: Asked, version: str, allow_downgrade: bool) -> int:
    """Pin --version for STACK in the inventory's group data and roll it out.

    Only the literal changes in the file. When the hosts do not take the version, it goes back.

    \b
    Examples:
      stackpin update inventories/prod crm --version v1.1.0
      stackpin update inventories/prod crm --version v1.0.9 --allow-downgrade --yes
    """
    from stackpin.rollout.updating import update as run_update  # noqa: PLC0415 - see cli/__init__

    return conduct(
        out,
        target,
        asked,
        lambda run: run_update(run, version, allow_downgrade=allow_downgrade, say=out.note),
    )
