"""`stackpin start`, `stop` and `restart`: the live slots of a stack's services."""

# ruff: noqa: D301, PLC0415 -- click wants a real \b; imports on use keep --help fast

from __future__ import annotations

import click

from stackpin.cli.options import Target, assume_yes, confirm, service_argument, target
from stackpin.cli.output import Output


@click.command()
@click.option("--reason", default="", help="Why; goes into the journal.")
@target
@service_argument
def start(out: Output, target: Target, reason: str, service: str | None) -> int:
    """Start the live slot of SERVICE, or of every service, and wait until it answers.

    Several services of a host start in the order of their rollout.

    \b
    Examples:
      stackpin start inventories/prod crm
      stackpin start inventories/prod infracore console
    """
    return _act(out, target, "start", reason, service)


@click.command()
@click.option("--reason", default="", help="Why; goes into the journal.")
@assume_yes
@target
@service_argument
def stop(out: Output, target: Target, reason: str, yes: bool, service: str | None) -> int:
    """Stop SERVICE, or every service: requests fail from then on until `stackpin start`.

    Several services of a host stop in the opposite order of their rollout.

    \b
    Examples:
      stackpin stop inventories/prod crm --reason 'disk change'
      stackpin stop inventories/prod infracore probe --yes
    """
    where = ", ".join(target.limit) or "every host"
    what = _label(target.stack, service)
    confirm(out, f"Stop {what} on {where} of {target.inventory}?", yes=yes)
    return _act(out, target, "stop", reason, service)


@click.command()
@click.option("--reason", default="", help="Why; goes into the journal.")
@target
@service_argument
def restart(out: Output, target: Target, reason: str, service: str | None) -> int:
    """Restart SERVICE, or every service, one after the other, and stop at the first that fails.

    One with overlapping slots starts the same release in the other slot, gates it and switches: no
    request fails. One without is stopped and started; the gap is shown.

    \b
    Examples:
      stackpin restart inventories/prod crm --limit web1
      stackpin restart inventories/prod infracore orchestrator
    """
    return _act(out, target, "restart", reason, service)


def _act(out: Output, target: Target, action: str, reason: str, name: str | None) -> int:
    from stackpin.care.act import service
    from stackpin.engine.session import open_session

    label = _label(target.stack, name)
    with open_session(target.inventory, target.limit, target.data, stack=target.stack) as session:
        done = service(session, target.stack, action, reason, out, name=name)
    single = {host: next(iter(parts.values())) for host, parts in done.items() if len(parts) == 1}
    out.document({"stack": label, "action": action, "hosts": single, "services": done})
    return 0


def _label(stack: str, service: str | None) -> str:
    """Name what is acted on; refuse a stack without services and an unknown SERVICE."""
    from stackpin.care.parts import services, shares_hosts

    names = services(stack, service)
    return stack if len(names) > 1 and shares_hosts(stack) else names[0]
