"""`stackpin history`: what happened on each host."""

# ruff: noqa: D301, PLC0415 -- click wants a real \b; imports on use keep --help fast

from __future__ import annotations

import textwrap

import click

from stackpin.cli.options import Target, target
from stackpin.cli.output import Output


@click.command()
@click.option(
    "-n", "--number", type=click.IntRange(1, 1000), default=20, show_default=True, help="Runs."
)
@target
def history(out: Output, target: Target, number: int) -> int:
    """Show the runs each host journalled: outcome, duration, who and why; newest last.

    The host writes the journal, so it also tells of runs whose operator vanished.

    \b
    Examples:
      stackpin history inventories/prod crm
      stackpin history inventories/prod crm --limit web1 -n 5 --json
    """
    from stackpin.care.survey import journals
    from stackpin.engine.session import open_session

    with open_session(
        target.inventory, target.limit, target.data, partial=True, stack=target.stack
    ) as session:
        answers, runs = journals(session, target.stack, number)
    columns = ["started", "host", "run", "what", "release", "outcome", "took", "who", "reason"]
    rows = []
    for part, run in runs:
        took = "" if run.seconds is None else f"{run.seconds:.1f} s"
        what = f"{part}: {run.command}" if len({name for name, _ in runs}) > 1 else run.command
        release = f"{run.before} -> {run.release}" if run.before else run.release or ""
        started = run.started.partition(".")[0].removesuffix("+00:00").replace("T", " ")
        rows.append(
            [
                started,
                run.host,
                run.run or "",
                what,
                release,
                run.outcome,
                took,
                run.who,
                _short(run.reason),
            ]
        )
    out.table(columns, rows)
    if not rows and not answers.errors:
        out.line("nothing journalled yet")
    out.document(
        {
            "runs": [{"stack": part, **run.as_json()} for part, run in runs],
            "errors": answers.errors_json(),
        }
    )
    answers.report(out)
    return answers.exit_code()


def _short(reason: str) -> str:
    """Return what fits in a table; --json has all of it."""
    return textwrap.shorten(reason, 60, placeholder=" …")
