"""`stackpin configure`: the variables of a stack, shown and changed."""

# ruff: noqa: D301, PLC0415 -- click wants a real \b; imports on use keep --help fast

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from stackpin.cli.exit import Exit
from stackpin.cli.options import Target, assume_yes, confirm, target
from stackpin.cli.output import Output
from stackpin.errors import Refused

if TYPE_CHECKING:
    from stackpin.care.configuring import Variable


@click.command()
@click.option(
    "--set",
    "given",
    multiple=True,
    metavar="KEY=VALUE",
    help="Give a variable a value: text, a number, true, or JSON for lists and mappings. "
    "May be repeated.",
)
@click.option("--dry", is_flag=True, help="Show the change and write nothing (exit 2).")
@assume_yes
@target
def configure(out: Output, target: Target, *, given: tuple[str, ...], dry: bool, yes: bool) -> int:
    """List the variables of STACK, and change them in the inventory's group data.

    Without --set it lists every variable with its value, default, meaning and file, and on a
    terminal asks which to change. Every value is judged as it is given, then the whole inventory as
    it would be; nothing is written unless it is right for every host.

    Only the literal changes, where the variable is set today: comments and formatting stay. One
    that is not set yet is added at the end. Secrets are references, such as env:NAME. The version
    is changed by `stackpin update`.

    Exit code 0: done, or nothing to do; 2: --dry shows a change.

    \b
    Examples:
      stackpin configure inventories/prod infracore
      stackpin configure inventories/prod infracore --set infracore_backup_keep_last=20
      stackpin configure inventories/prod crm --set 'crm_gate={"min_healthy": 20}' --dry
    """
    from stackpin.care.configuring import propose, variables
    from stackpin.config.stacks import stack

    chosen = stack(target.stack)
    known = variables(target.inventory, chosen, target.limit, target.data)
    out.document({"variables": [one.as_json() for one in known.values()], "written": []})
    if given:
        wanted = _given(known, given)
    else:
        rows = [
            [name, one.value, one.default, one.info.description or "", _files(one)]
            for name, one in known.items()
        ]
        out.table(["variable", "value", "default", "meaning", "set in"], rows)
        wanted = _asked(known) if _interactive(out) else {}
    made = propose(target.inventory, known, wanted, chosen.version_variable)
    if not made.changes:
        if wanted:
            out.line("nothing to change: that is what it says already")
        return Exit.OK
    made.validate(target.inventory, chosen, target.data)
    diff = list(made.diff())
    for line in diff:
        out.line(line)
    out.document({"diff": diff})
    if dry:
        return Exit.CHANGES
    files = ", ".join(str(path) for path in made.files)
    confirm(out, f"Write {files}?", yes=yes)
    made.write()
    out.document({"written": [str(path) for path in made.files]})
    out.line(
        f"{files}: written; `stackpin plan {target.inventory} {target.stack}` shows the effect"
    )
    return Exit.OK


def _interactive(out: Output) -> bool:
    return not out.as_json and sys.stdin.isatty()


def _files(one: Variable) -> str:
    return ", ".join(sorted({file or "the inventory" for file in one.files.values()}))


def _given(known: Mapping[str, Variable], given: tuple[str, ...]) -> dict[str, Any]:
    """Read --set; tell every wrong one."""
    from stackpin.care.configuring import typed

    wanted: dict[str, Any] = {}
    problems = []
    for pair in given:
        name, separator, text = pair.partition("=")
        try:
            if not separator:
                raise Refused(f"--set {name}: expected KEY=VALUE")
            wanted[name] = typed(_known(known, name), text)
        except Refused as error:
            problems.append(str(error))
    if problems:
        raise Refused("\n".join(problems))
    return wanted


def _known(known: Mapping[str, Variable], name: str) -> Variable:
    import difflib

    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, 1)
    hint = f"Did you mean {close[0]}?" if close else "`stackpin configure` lists them."
    raise Refused(f"{name}: found an unknown variable. {hint}")


def _asked(known: Mapping[str, Variable]) -> dict[str, Any]:
    """Ask for variables and values until there are no more; a wrong value is asked for again."""
    from stackpin.care.configuring import typed

    wanted: dict[str, Any] = {}
    while name := click.prompt("Variable to change (Enter: no more)", "", show_default=False):
        try:
            one = _known(known, name)
        except Refused as error:
            click.echo(str(error), err=True)
            continue
        click.echo(f"{one.info.description or name}\nnow {one.value}, default {one.default}")
        while text := click.prompt("Value (Enter: leave it)", "", show_default=False):
            try:
                wanted[name] = typed(one, text)
                break
            except Refused as error:
                click.echo(str(error), err=True)
    return wanted
