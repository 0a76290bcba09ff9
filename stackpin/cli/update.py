"""`stackpin update`."""

# ruff: noqa: D301 -- click wants a real \b

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from stackpin.cli.options import Target
from stackpin.cli.output import Output
from stackpin.cli.rolling import Asked, conduct, rolling
from stackpin.cli.wanting import wanting

if TYPE_CHECKING:
    from stackpin.rollout.wanted import Wanted

__all__ = ["roll_to", "update"]


@click.command()
@wanting
@rolling
def update(
    out: Output,
    target: Target,
    asked: Asked,
    *,
    wanted: Wanted,
    allow_downgrade: bool,
    refresh: bool,
) -> int:
    """Pin a version for STACK in the inventory's group data and roll it out.

    Name it by one of --version, --latest, --from-git and --from-version-file. For a stack of
    images every image is found in its registry first, and its digest written to the lock file;
    one that is missing, or whose tag was pushed again with other content, refuses the update
    before anything is touched.

    Only the literal changes in the group data. When the hosts do not take the version, pin and
    lock file go back.

    \b
    Examples:
      stackpin update inventories/prod crm --version v1.1.0
      stackpin update inventories/prod crm --version v1.0.9 --allow-downgrade --yes
      stackpin update inventories/prod xingrin --latest --batch 1,10%,50%
      stackpin update inventories/prod xingrin --from-version-file ../xingrin/VERSION
    """
    return roll_to(
        out, target, asked, wanted=wanted, allow_downgrade=allow_downgrade, refresh=refresh
    )


def roll_to(
    out: Output,
    target: Target,
    asked: Asked,
    *,
    wanted: Wanted,
    allow_downgrade: bool,
    refresh: bool,
) -> int:
    """Pin the `wanted` version and roll it out; what `update` and `upgrade` share."""
    from stackpin.rollout.updating import update as run_update  # noqa: PLC0415 - see cli/__init__

    return conduct(
        out,
        target,
        asked,
        lambda run: run_update(
            run, wanted, allow_downgrade=allow_downgrade, refresh=refresh, say=out.note
        ),
    )
