"""A click group with a subcommand that is meant when none is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

__all__ = ["default_group"]


class DefaultGroup(click.Group):
    """`stackpin backup INVENTORY STACK` is `stackpin backup create INVENTORY STACK`."""

    default = ""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default subcommand first unless a subcommand or the group's help is asked for."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [self.default, *args]
        return super().parse_args(ctx, args)


def default_group(default: str) -> Callable[[Callable[..., Any]], click.Group]:
    """Return a decorator like `click.group()` whose subcommand `default` may be left out."""
    return click.group(cls=type("DefaultGroup", (DefaultGroup,), {"default": default}))
