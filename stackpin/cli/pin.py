"""`stackpin pin`: a version bump to review, without touching a host."""

# ruff: noqa: D301, PLC0415 -- click wants a real \b; imports on use keep --help fast

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stackpin.cli.options import Target, target
from stackpin.cli.output import Output
from stackpin.cli.wanting import wanting
from stackpin.errors import Refused

if TYPE_CHECKING:
    from stackpin.rollout.wanted import Wanted

__all__ = ["pin"]


@click.command()
@wanting
@target
def pin(
    out: Output, target: Target, wanted: Wanted, allow_downgrade: bool, refresh: bool
) -> int | None:
    """Write a version and the digests of its images into the repository; no host is touched.

    The same checks as `update` makes: every image must be in its registry, and a tag locked before
    must name the same content. Commit the two files, have them reviewed, then run
    `stackpin deploy`. Naming the version that is pinned already completes the lock file.

    \b
    Examples:
      stackpin pin inventories/prod xingrin --version v1.2.0
      stackpin pin inventories/prod xingrin --latest
      stackpin pin inventories/prod xingrin --version v1.2.0 --refresh
    """
    from stackpin.config.stacks import stack
    from stackpin.rollout.updating import pin as write_pin

    if target.limit:
        raise Refused("--limit: a pin is for the whole inventory. Leave it out.")
    change = write_pin(
        Path(target.inventory),
        stack(target.stack),
        wanted,
        target.data,
        allow_downgrade=allow_downgrade,
        refresh=refresh,
        say=out.line,
    )
    out.document(
        {
            "stack": target.stack,
            "file": str(change.pin.path),
            "before": change.pin.value,
            "version": change.version,
            "lock": None if change.lock is None else str(change.lock[0]),
        }
    )
    if change.lock is None and change.pin.value == change.version:
        out.line(f"{change.version} is pinned already: nothing was changed")
    return None
