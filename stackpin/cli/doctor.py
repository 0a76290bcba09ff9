"""`stackpin doctor`: what is wrong with a stack, and what to do about it."""

# ruff: noqa: D301, PLC0415 -- click wants a real \b; imports on use keep --help fast

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stackpin.cli.exit import Exit
from stackpin.cli.options import Target, target
from stackpin.cli.output import Output

if TYPE_CHECKING:
    from stackpin.care.diagnosis import Problem
    from stackpin.care.doctor import Examination

__all__ = ["doctor"]


@click.command()
@click.option(
    "--bundle",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.tar.gz",
    help="Also write all answers and logs, without secrets, into a new file for support.",
)
@click.option("--all", "hints", is_flag=True, help="Show hints, too: what breaks nothing now.")
@target
def doctor(out: Output, target: Target, *, bundle: Path | None, hints: bool) -> int:
    """Examine STACK on its hosts and explain what is wrong, worst first; nothing is changed.

    Asks each host once for everything: what is live and what runs, every health check, what a
    deploy would ask first (programs, ports, disk, memory, clock, network), certificates, logs of
    what fails, open runs, leases and the journal. Each problem says what was found, what is
    expected, and the next command.

    Exit code 0: nothing found, or hints only; 2: problems; 1: a host could not be asked.

    \b
    Examples:
      stackpin doctor inventories/prod infracore
      stackpin doctor inventories/prod crm --limit web1 --bundle crm-trouble.tar.gz
      stackpin doctor inventories/prod site --json
    """
    from stackpin.care import support
    from stackpin.care.diagnosis import Level
    from stackpin.care.doctor import examine

    if bundle is not None:
        support.require_new(bundle)
    found = examine(target.inventory, target.stack, target.limit, target.data)
    problems = [one for one in found.problems if one.level is not Level.HINT]
    shown = found.problems if hints else problems
    for number, one in enumerate(shown, 1):
        _show(out, number, one)
    out.line(_summary(target.stack, found, problems, shown=len(shown)))
    out.document(
        {
            "problems": [one.as_json() for one in found.problems],
            "unreachable": found.away,
            "bundle": None if bundle is None else str(bundle),
        }
    )
    if bundle is not None:
        about = {"inventory": target.inventory, "stack": target.stack, "hosts": [*found.hosts]}
        support.write(bundle, about, found)
        out.line(f"{bundle}: written; look through it before you send it")
    if found.unasked:
        return Exit.ERROR
    return Exit.CHANGES if problems else Exit.OK


def _show(out: Output, number: int, one: Problem) -> None:
    where = one.host if one.what.startswith(one.part) else f"{one.host} {one.part}"
    out.line(f"{number}. {one.level.name.lower()}: {where}: {one.what}")
    for name, text in (("found", one.found), ("expected", one.expected), ("next", one.next)):
        out.line(f"     {name:<9}{text}")
    for line in one.log:
        out.line(f"     | {line}")


def _summary(stack: str, found: Examination, problems: list[Problem], *, shown: int) -> str:
    hints = len(found.problems) - len(problems)
    more = f"; {_count(hints, 'hint')}" if hints else ""
    more += " (--all shows them)" if hints and shown == len(problems) else ""
    if problems:
        return f"{stack}: {_count(len(problems), 'problem')}{more}"
    gates = [told["verify"] for parts in found.hosts.values() for told in parts.values()]
    checks = sum(len(gate.get("results") or []) for gate in gates)
    return f"{stack}: healthy on {', '.join(found.hosts)}, {_count(checks, 'check')} passed{more}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' if number != 1 else ''}"
