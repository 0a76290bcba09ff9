"""`stackpin tunnel`: a local port that leads to the service on a host."""

# ruff: noqa: D301, PLC0415 -- click wants a real \b; imports on use keep --help fast

from __future__ import annotations

import click

from stackpin.cli.options import Target, service_argument, target
from stackpin.cli.output import Output
from stackpin.errors import Refused


@click.command()
@click.option(
    "--local-port", type=click.IntRange(1, 65535), metavar="PORT", help="Default: any free one."
)
@target
@service_argument
def tunnel(out: Output, target: Target, *, local_port: int | None, service: str | None) -> int:
    """Forward a local port over SSH to the live slot, which listens on the host's loopback only.

    Of a stack with several services it leads to SERVICE, by default to the one people use: of
    InfraCore the console.

    It follows the live slot over a deploy. Ctrl-C closes it with exit status 0. Only this machine
    can connect to it (127.0.0.1).

    \b
    Examples:
      stackpin tunnel inventories/prod crm --limit web1
      stackpin tunnel inventories/prod crm --limit web1 --local-port 18190
      stackpin tunnel inventories/prod infracore --limit core1
      stackpin tunnel inventories/prod infracore gate --limit core1
    """
    from stackpin.care.parts import entry_part, only_host
    from stackpin.care.ports import live_port
    from stackpin.care.tunnel import Tunnel
    from stackpin.engine.interrupts import interruptible
    from stackpin.engine.session import open_session

    if out.as_json:
        raise Refused("--json with tunnel: it runs until Ctrl-C and has no document to give")
    part = entry_part(target.stack, service)
    with open_session(target.inventory, target.limit, target.data, stack=target.stack) as session:
        host = only_host(session, "tunnel")
        port = live_port(session, host, part)
        way = Tunnel(
            lambda: session.remote(host).transport,
            lambda: live_port(session, host, part),
            lambda problem: out.note(f"{host}: {problem}"),
        )
        local = way.listen(local_port or 0)
        try:
            out.line(f"http://127.0.0.1:{local}/ leads to {part} on {host} (now port {port} there)")
            out.line("Ctrl-C closes the tunnel")
            with interruptible():
                way.serve()
        except KeyboardInterrupt:
            out.note("tunnel closed")
        finally:
            way.close()
    return 0
