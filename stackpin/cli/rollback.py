"""`stackpin rollback`."""

# ruff: noqa: D301, PLC0415 -- click wants a real \b; imports on use keep --help fast

from __future__ import annotations

import click

from stackpin.cli.options import Target
from stackpin.cli.output import Output
from stackpin.cli.rolling import Asked, conduct, rolling

__all__ = ["rollback"]


@click.command()
@click.option("--to", metavar="RELEASE", help="A release id or version on the hosts.")
@click.option(
    "--with-data",
    is_flag=False,
    flag_value="before",
    metavar="[BACKUP|before]",
    help="Then put data back: a backup's id, or the one from before what is rolled back. "
    "[default without a value: before]",
)
@rolling
def rollback(
    out: Output, target: Target, asked: Asked, to: str | None, with_data: str | None
) -> int:
    """Return STACK to the recorded last good release, or to --to, through the same gate.

    The pin in group data follows, unless --limit leaves hosts out.

    Data stays as it is, and what was backed up before is said. With --with-data it goes back too,
    after releases and configuration: what would be lost is shown before anything is asked, and
    where there is no such backup all of it is refused. It is done as `stackpin restore` does it,
    maintenance page and safety backup included.

    \b
    Examples:
      stackpin rollback inventories/prod crm
      stackpin rollback inventories/prod crm --to v1.0.0 --reason 'search is slow'
      stackpin rollback inventories/prod infracore --with-data
      stackpin rollback inventories/prod infracore --with-data 4f9c2a1b --yes
    """
    from stackpin.care.taking_back import Data
    from stackpin.engine.session import open_session
    from stackpin.rollout.model import Run
    from stackpin.rollout.rollback import rollback as run_rollback

    data = Data(with_data)

    def perform(run: Run) -> int:
        return run_rollback(run, say=out.note, before=(data.choose_backup,))

    def show(_run: Run) -> None:
        for line in data.describe():
            out.line(line)

    code = conduct(out, target, asked, perform, judge=show, to=to)
    if not data.views:
        return code
    if code:
        out.note("data was not touched, as the rollback did not go through on every host")
        return code
    hosts = tuple(dict.fromkeys(host for host, _keeper in data.views))
    with open_session(target.inventory, hosts, target.data, stack=target.stack) as session:
        out.document({"data": data.put_back(session, out)})
    return code
