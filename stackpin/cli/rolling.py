"""What deploy, update and rollback have in common."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stackpin.cli.options import Target, assume_yes, confirm, target
from stackpin.cli.output import Output

if TYPE_CHECKING:
    from stackpin.rollout.model import Run

__all__ = ["Asked", "conduct", "rolling"]

Body = Callable[..., int | None]
Asked = dict[str, Any]


def rolling(body: Body) -> Callable[..., None]:
    """Give a command the options of a rollout; called as body(out, target, asked, **its_own).

    `asked` holds yes, batches, max_failures, on_failure, wait_lock (seconds), reason, rehearse,
    evidence and metrics_file.
    """

    @click.option("--batch", default="1,100%", show_default=True, help="Batch sizes in turn.")
    @click.option("--max-failures", default=0, show_default=True, help="Hosts that may fail.")
    @click.option(
        "--on-failure",
        type=click.Choice(["rollback", "halt"]),
        help="Whether a stopped run takes back hosts that serve the new release already. "
        "[default: as the stack says: halt; rollback for xingrin]",
    )
    @click.option("--wait-lock", default=0.0, metavar="SECONDS", help="Wait for a held lock.")
    @click.option("--reason", default="", help="Why, for the journal and the lock.")
    @click.option("--no-rehearsal", is_flag=True, help="Do not try on a copy of the data first.")
    @click.option("--evidence", default="evidence", help="Where records go.", show_default=True)
    @click.option("--metrics-file", metavar="FILE", help="Also write figures as Prometheus text.")
    @assume_yes
    @functools.wraps(body)
    def with_options(
        out: Output,
        target: Target,
        *,
        batch: str,
        max_failures: int,
        on_failure: str | None,
        wait_lock: float,
        reason: str,
        no_rehearsal: bool,
        evidence: str,
        metrics_file: str | None,
        yes: bool,
        **options: object,
    ) -> int | None:
        from stackpin.rollout.rolling import parse_batches  # noqa: PLC0415 - see cli/__init__

        asked: Asked = {
            "yes": yes,
            "batches": parse_batches(batch),
            "max_failures": max_failures,
            "on_failure": on_failure,
            "wait_lock": wait_lock,
            "reason": reason,
            "rehearse": False if no_rehearsal else None,
            "evidence": Path(evidence),
            "metrics_file": metrics_file,
        }
        return body(out, target, asked, **options)

    return target(with_options)


def conduct(
    out: Output,
    target: Target,
    asked: Asked,
    perform: Callable[[Run], int],
    judge: Callable[[Run], None] = lambda _run: None,
    **extra: Any,  # noqa: ANN401 - further fields of Request
) -> int:
    """Build the run, let `perform` take it through, and report how it ended.

    `judge` may raise Refused for a plan that was shown. `extra` are further fields of
    rollout.model.Request, such as plan_file.
    """
    from stackpin.cli.progress import progress  # noqa: PLC0415
    from stackpin.cli.report import report  # noqa: PLC0415
    from stackpin.config.stacks import stack  # noqa: PLC0415
    from stackpin.rollout.model import Request, Run  # noqa: PLC0415

    options = {key: value for key, value in asked.items() if key != "yes"}
    request = Request(
        command=out.command,
        inventory=target.inventory,
        stack=stack(target.stack),
        limit=target.limit,
        data=target.data,
        **options,
        **extra,
    )

    def approve(run: Run) -> None:
        _show(out, run)
        judge(run)
        hosts = len({roll.host for roll in run.rolls if roll.outcome == "pending"})
        what = f"{out.command} {target.stack} on {hosts} host(s) of {target.inventory}?"
        confirm(out, what, yes=asked["yes"])

    with progress(as_json=out.as_json) as shown:
        run = Run(request, shown, approve)
        try:
            code = perform(run)
        except KeyboardInterrupt:
            close = getattr(shown, "close", None)
            if close:
                close()
            if run.rolls:
                report(out, run)
            raise
    report(out, run)
    if code == 2:
        away = ", ".join(dict.fromkeys(roll.host for roll in run.rolls if roll.code == 2))
        again = f"stackpin deploy {target.inventory} {target.stack}"
        out.note(f"still to be done on {away}: `{again}` does it once they answer")
    elif code:
        out.error(_summary(run), kind="Failed")
    elif all(roll.outcome == "in-sync" for roll in run.rolls):
        out.line("in sync: nothing was changed, and every required check passes")
    return code


def _show(out: Output, run: Run) -> None:
    from stackpin.cli.show_plan import show_plan  # noqa: PLC0415

    if run.planned is not None:
        if not out.as_json:
            show_plan(out, run.planned)
        return
    for roll in run.rolls:
        if roll.code:
            continue  # out of reach, or nothing to go to: the report says it
        out.line(f"{roll.host} {roll.part}: {roll.now or 'nothing'} -> {roll.wanted}")


def _summary(run: Run) -> str:
    failed = [roll for roll in run.rolls if roll.failed]
    told = [f"{roll.host} {roll.part}: {_first_line(roll.error)}" for roll in failed]
    return "\n".join(told) or "failed"


def _first_line(text: str, limit: int = 120) -> str:
    first = text.splitlines()[0] if text else ""
    return first if len(first) <= limit else first[:limit] + " ..."
