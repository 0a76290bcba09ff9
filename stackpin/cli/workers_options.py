"""Options and arguments that the `workers` commands share, as decorators."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import click

from stackpin.cli.options import Target, assume_yes, parse_data, reporting
from stackpin.cli.rolling import Asked

__all__ = ["SERVER", "STACK", "WORKER", "fleet_target", "patched", "rolling_nodes"]

Body = Callable[..., int | None]
STACK, SERVER, WORKER = "xingrin", "xingrin-server", "xingrin-worker"


def patched(inventory: str, limit: tuple[str, ...] = (), pairs: tuple[str, ...] = ()) -> Target:
    """Return the Target of the worker part; gevent takes over sockets (see options.target)."""
    from gevent import monkey  # noqa: PLC0415

    monkey.patch_all()
    names = tuple(name for part in limit for name in part.split(",") if name)
    return Target(inventory, WORKER, names, parse_data(pairs))


def fleet_target(body: Body) -> Callable[..., None]:
    """Give a command INVENTORY --data --json --debug; called as body(out, target, **options)."""

    @click.argument("inventory")
    @click.option(
        "--data", "pairs", multiple=True, metavar="KEY=VALUE", help="Override a variable."
    )
    @functools.wraps(body)
    def with_target(
        out: object, inventory: str, pairs: tuple[str, ...], **options: object
    ) -> int | None:
        return body(out, patched(inventory, (), pairs), **options)

    return reporting(with_target)


def rolling_nodes(body: Body) -> Callable[..., None]:
    """Give a command the options of a rollout of nodes; called as body(out, target, asked, **own).

    `asked` holds what cli.rolling.conduct wants.
    """

    @click.option("--reason", default="", help="Why, for the journal and the lock.")
    @click.option("--evidence", default="evidence", help="Where records go.", show_default=True)
    @assume_yes
    @functools.wraps(body)
    def with_options(
        out: object, target: Target, *, reason: str, evidence: str, yes: bool, **options: object
    ) -> int | None:
        asked: Asked = {"yes": yes, "reason": reason, "evidence": Path(evidence)}
        return body(out, target, asked, **options)

    return fleet_target(with_options)
