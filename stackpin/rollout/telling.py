"""What others are told of a run: messages when it begins and ends, and figures in a file."""

from __future__ import annotations

from pathlib import Path

from stackpin.config.common import Shared
from stackpin.exposition import replace
from stackpin.notify import Messenger
from stackpin.report.metrics import measure, metrics_text
from stackpin.rollout.closing import code_of, outcome_of, part_code
from stackpin.rollout.model import Run
from stackpin.rollout.wording import word

__all__ = ["began", "ended"]

MOST = 20  # hosts named in a message


def began(run: Run) -> None:
    """Tell that hosts are about to be changed; a run that has nothing to change says nothing."""
    todo = [roll for roll in run.rolls if roll.outcome == "pending"]
    if not todo:
        return
    run.messenger = Messenger.of(_shared(run))
    hosts = ", ".join(list(dict.fromkeys(roll.host for roll in todo))[:MOST])
    run.messenger.send("start", f"{_about(run)}: begins", f"{_origin(run)}\nhosts: {hosts}")


def ended(run: Run) -> None:
    """Tell how the run ended, write its figures; what cannot be told is a note of the run."""
    code = code_of(run)
    _write_figures(run, code)
    if not run.approved:
        return
    if run.messenger is None:
        if not code:
            return  # in sync and healthy: no news
        run.messenger = Messenger.of(_shared(run))
    good = code == 0
    ending = "done" if good else f"{outcome_of(run.rolls)}, exit code {code}"
    lines = [
        f"{roll.host} {roll.part}: {word(roll)} ({roll.serving or 'no release'})"
        + (f"\n  {roll.error.splitlines()[0][:300]}" if roll.error and roll.code else "")
        for roll in run.rolls
        if roll.outcome != "in-sync" or roll.code
    ]
    more = [f"and {len(lines) - MOST} more"] if len(lines) > MOST else []
    body = "\n".join([_origin(run), *lines[:MOST], *more])
    run.messenger.send("success" if good else "failure", f"{_about(run)}: {ending}", body)
    run.notes += run.messenger.finish()


def _shared(run: Run) -> list[Shared]:
    return [one.shared for parts in run.settings.values() for one in parts.values()]


def _about(run: Run) -> str:
    what = f"{run.request.stack.name} {run.versions()}".strip()
    return f"{run.request.command} {what} on {Path(run.request.inventory).stem}"


def _origin(run: Run) -> str:
    reason = f": {run.request.reason}" if run.request.reason else ""
    return f"by {run.who}{reason} (run {run.id})"


def _write_figures(run: Run, code: int) -> None:
    path = run.request.metrics_file or next(
        (one.metrics_file for one in _shared(run) if one.metrics_file), None
    )
    if not path:
        return
    measures = []
    for part in run.parts:
        rolls = [roll for roll in run.rolls if roll.part == part]
        outcome = outcome_of(rolls) if run.approved and rolls else "refused" if code else "in-sync"
        measures.append(measure(run, part, outcome, part_code(run, rolls)))
    inventory = Path(run.request.inventory).stem
    named = path.replace("{inventory}", inventory).replace("{stack}", run.request.stack.name)
    try:
        replace(Path(named), metrics_text(measures))
    except OSError as error:
        run.notes.append(f"no figures in {named}: {error.strerror or error}")
