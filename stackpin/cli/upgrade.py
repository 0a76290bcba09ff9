"""`stackpin upgrade`."""

# ruff: noqa: D301 -- click wants a real \b

from __future__ import annotations

import click

from stackpin.cli.options import Target
from stackpin.cli.output import Output
from stackpin.cli.rolling import Asked, rolling
from stackpin.cli.update import roll_to
from stackpin.cli.wanting import pinning

__all__ = ["upgrade"]


@click.command()
@pinning
@rolling
def upgrade(
    out: Output, target: Target, asked: Asked, *, allow_downgrade: bool, refresh: bool
) -> int:
    """Pin the newest version there is for STACK and roll it out: `stackpin update --latest`.

    The newest final release of the registry, of the files beside the pinned one, or of the tags of
    the repository it is built from.

    \b
    Examples:
      stackpin upgrade inventories/prod xingrin --batch 1,10%,50%
      stackpin upgrade inventories/prod infracore --yes
    """
    from stackpin.rollout.wanted import Wanted  # noqa: PLC0415 - see cli/__init__

    return roll_to(
        out,
        target,
        asked,
        wanted=Wanted(latest=True),
        allow_downgrade=allow_downgrade,
        refresh=refresh,
    )
