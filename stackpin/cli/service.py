"""`stackpin start`, `stop` and `restart`: the live slot of a service."""

# ruff: noqa: D301, PLC0415 -- click wants a real \b; imports on use keep --help fast

from __future__ import annotations

import click

from stackpin.cli.options import Target, assume_yes, confirm, target
from stackpin.cli.output import Output


@click.command()
@click.option("--reason", default="", help="Why; goes into the journal.")
@target
def start(out: Output, target: Target, reason: str) -> int:
    """Start the live slot and wait until it answers.

    \b
    Example:
      stackpin start inventories/prod crm
    """
    return _act(out, target, "start", reason)


@click.command()
@click.option("--reason", default="", help="Why; goes into the journal.")
@assume_yes
@target
def stop(out: Output, target: Target, reason: str, yes: bool) -> int:
    """Stop the service: requests fail from then on until `stackpin start`.

    \b
    Example:
      stackpin stop inventories/prod crm --reason 'disk change'
    """
    from stackpin.care.fleet import slot_part

    part = slot_part(target.stack)
    where = ", ".join(target.limit) or "every host"
    confirm(out, f"Stop {part} on {where} of {target.inventory}?", yes=yes)
    return _act(out, target, "stop", reason)


@click.command()
@click.option("--reason", default="", help="Why; goes into the journal.")
@target
def restart(out: Output, target: Target, reason: str) -> int:
    """Restart the service, one host after the other, and stop at the first that fails.

    A stack with overlapping slots starts the same release in the other slot, gates it and switches:
    no request fails. One without is stopped and started; the gap is shown.

    \b
    Example:
      stackpin restart inventories/prod crm --limit web1
    """
    return _act(out, target, "restart", reason)


def _act(out: Output, target: Target, action: str, reason: str) -> int:
    from stackpin.care.act import service
    from stackpin.care.fleet import slot_part
    from stackpin.engine.session import open_session

    part = slot_part(target.stack)
    with open_session(target.inventory, target.limit, target.data, stack=target.stack) as session:
        done = service(session, target.stack, action, reason, out)
    out.document({"stack": part, "action": action, "hosts": done})
    return 0
