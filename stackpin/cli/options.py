"""Options and arguments that commands share, as decorators."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import click

from stackpin.cli.exit import run_command
from stackpin.cli.output import Output
from stackpin.errors import Refused

__all__ = ["Body", "Target", "assume_yes", "confirm", "reporting", "service_argument", "target"]

Body = Callable[..., int | None]


@dataclass(frozen=True)
class Target:
    """What a command works on.

    `inventory` is a path to an inventory file, `stack` a name of the stack registry, `limit` host
    and group names (empty = all), `data` values of --data that override group data.
    """

    inventory: str
    stack: str
    limit: tuple[str, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)


def reporting(body: Body) -> Callable[..., None]:
    """Give a command --json and --debug, an `out: Output` first argument, and our exit codes."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
    @click.option("--debug", is_flag=True, help="Show the traceback of an unexpected error.")
    @functools.wraps(body)
    def command(*args: object, as_json: bool, debug: bool, **options: object) -> None:
        name = click.get_current_context().info_name or ""
        out = Output(name, as_json=as_json, debug=debug)
        run_command(out, lambda: body(out, *args, **options))

    return command


def target(body: Body) -> Callable[..., None]:
    """Give a command INVENTORY STACK --limit --data --json --debug.

    The function is called as `body(out, target, **its_own_options)` and returns an exit code or
    None for 0.
    """

    @click.argument("inventory")
    @click.argument("stack", shell_complete=_stacks)
    @click.option("--limit", multiple=True, metavar="HOST", help="Only these hosts or groups.")
    @click.option(
        "--data", "pairs", multiple=True, metavar="KEY=VALUE", help="Override a variable."
    )
    @functools.wraps(body)
    def with_target(
        out: Output,
        inventory: str,
        stack: str,
        limit: tuple[str, ...],
        pairs: tuple[str, ...],
        **options: object,
    ) -> int | None:
        # gevent must replace sockets and ssl before the engine or requests import them, and
        # `--help` and completion must not pay for it: hence here, and not in the modules.
        from gevent import monkey  # noqa: PLC0415

        monkey.patch_all()
        names = tuple(name for part in limit for name in part.split(",") if name)
        return body(out, Target(inventory, stack, names, parse_data(pairs)), **options)

    return reporting(with_target)


def service_argument(body: Body) -> Body:
    """Give a command the optional argument SERVICE, passed on as `service: str | None`.

    Put it below `target`, whose arguments come first.
    """
    argument: Callable[[Body], Body] = click.argument(
        "service", required=False, shell_complete=_services
    )
    return argument(body)


def _stacks(_ctx: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    from stackpin.config.stacks import STACKS  # noqa: PLC0415 - --help must not pay for it

    return [name for name in STACKS if name.startswith(begun)]


def _services(ctx: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    from stackpin.care.parts import service_name, services  # noqa: PLC0415 - as above

    stack = str(ctx.params.get("stack") or "")
    try:
        names = [service_name(stack, part) for part in services(stack)]
    except Refused:
        return []
    return [name for name in names if name.startswith(begun)]


def assume_yes(body: Body) -> Body:
    """Give a command --yes, passed on as `yes: bool`."""
    option: Callable[[Body], Body] = click.option("--yes", "-y", is_flag=True, help="Do not ask.")
    return option(body)


def parse_data(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Turn `key=value` texts into values: JSON where it parses, else the text itself."""
    data: dict[str, Any] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator or not key.isidentifier():
            raise Refused(f"--data {pair}: expected KEY=VALUE with KEY a variable's name")
        try:
            data[key] = json.loads(text)
        except ValueError:
            data[key] = text
    return data


def confirm(out: Output, question: str, *, yes: bool, expect: str = "yes") -> None:
    """Ask `question` on the terminal unless `yes`; refuse when there is nobody to ask.

    `expect` is what the user must type, such as the stack's name for dangerous commands.
    """
    if yes:
        return
    if out.as_json or not sys.stdin.isatty():
        raise Refused(f"{question} Nobody to ask here: add --yes to agree.")
    click.echo(f"{question} Type {expect!r} to agree: ", nl=False, err=True)
    if _answer().strip().lower() != expect.lower():
        raise Refused("not agreed: nothing was touched")


def _answer() -> str:
    """Read a line without stopping the heartbeat of a lock held meanwhile."""
    if "gevent" in sys.modules:
        from gevent.socket import wait_read  # noqa: PLC0415 - only where it is in use already

        wait_read(sys.stdin.fileno())
    return sys.stdin.readline()
