"""`stackpin logs`: the services' log lines."""

# ruff: noqa: D301, PLC0415 -- click wants a real \b; imports on use keep --help fast

from __future__ import annotations

import click

from stackpin.cli.options import Target, service_argument, target
from stackpin.cli.output import Output
from stackpin.errors import Refused


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines until Ctrl-C.")
@click.option(
    "-n", "--lines", type=click.IntRange(0, 100000), help="Last lines. [default: 100, or all since]"
)
@click.option("--since", metavar="TIME", help="As journalctl takes it: '10 min ago', '09:00'.")
@click.option("--slot", type=click.Choice(["blue", "green"]), help="This slot, not the live one.")
@target
@service_argument
def logs(
    out: Output,
    target: Target,
    *,
    follow: bool,
    lines: int | None,
    since: str | None,
    slot: str | None,
    service: str | None,
) -> int:
    """Show the log of the live slot, secrets masked on the host before they travel.

    Of a stack with several services the lines of all come interleaved by time, each after
    `service:`, unless SERVICE names one; -n counts those of each. With -f it moves on to the other
    slot when a deploy makes that one live. Ctrl-C ends it with exit status 0. Lines begin with the
    host's name when there are several.

    \b
    Examples:
      stackpin logs inventories/prod crm -n 50
      stackpin logs inventories/prod crm -f --limit web1
      stackpin logs inventories/prod crm --since '1 hour ago' --json
      stackpin logs inventories/prod infracore console -f
    """
    from stackpin.care.parts import service_name, services, shares_hosts
    from stackpin.care.stream import stream
    from stackpin.engine.interrupts import interruptible
    from stackpin.engine.session import open_session

    if follow and out.as_json:
        raise Refused("--json with --follow: a document that never ends; leave one of them out")
    count = lines if lines is not None else None if since else 100
    options = {"follow": follow, "lines": count, "since": since, "slot": slot}
    named = len(services(target.stack, service)) > 1 and shares_hosts(target.stack)
    collected: dict[str, list[str]] = {}

    def show(host: str, part: str, line: str) -> None:
        if named:
            line = f"{service_name(target.stack, part)}: {line}"
        if out.as_json:
            collected.setdefault(host, []).append(line)
        else:
            out.line(f"{host}: {line}" if several else line)

    with open_session(
        target.inventory, target.limit, target.data, partial=True, stack=target.stack
    ) as session:
        several = len(session.hosts) + len(session.problems) > 1
        try:
            with interruptible():
                answers = stream(session, target.stack, options, show, service)
        except KeyboardInterrupt:
            if follow:
                return 0
            raise
    out.document({"hosts": collected, "errors": answers.errors_json()})
    answers.report(out)
    return answers.exit_code()
