"""After the last batch: what serves is looked at, evidence written, the lock given back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stackpin.artifacts import Artifact as LocalArtifact
from stackpin.config.release import version_of
from stackpin.errors import StackpinError
from stackpin.evidence.collect import Artifact, HostEvidence, collect, git_head
from stackpin.evidence.record import Record, write
from stackpin.report.describing import describe
from stackpin.report.metrics import measure, metrics_text
from stackpin.report.page import page
from stackpin.rollout.inverse import document
from stackpin.rollout.model import Roll, Run
from stackpin.rollout.verifying import TIMEOUT, WHERE, verify_host

__all__ = ["code_of", "evidence", "exit_code", "outcome_of", "part_code", "unlock"]

Told = dict[tuple[str, str], list[Any]]
"""By host and part: the answers to `inspect` and `verify`, or the errors instead of them."""
# Which of two exit codes tells more.
WEIGHT = (0, 2, 3, 1, 4, 5)


def exit_code(run: Run) -> int:
    """Return the exit code the rolls add up to: the worst."""
    return max((roll.code for roll in run.rolls), key=WEIGHT.index, default=0)


def evidence(run: Run) -> Run:
    """Write one record per part that was worked on, also after failures."""
    worked: dict[str, list[Roll]] = {}
    for part in run.parts:
        rolls = [roll for roll in run.rolls if roll.part == part and roll.outcome != "in-sync"]
        if not all(roll.outcome in {"skipped", "unreachable"} for roll in rolls):
            worked[part] = rolls
    told = _ask(run, [roll for rolls in worked.values() for roll in rolls])
    for part, rolls in worked.items():
        try:
            run.evidence.append(str(_record(run, part, rolls, told)))
        except (OSError, ValueError, StackpinError) as error:
            run.notes.append(f"no evidence of {part} could be written: {error}")
    return run


def unlock(run: Run) -> Run:
    """Give every lease back."""
    if run.lease:
        run.lease.give_back()
    return run


def _record(run: Run, part: str, rolls: list[Roll], told: Told) -> Path:
    by_host = {roll.host: roll for roll in rolls}
    # Several at once: the public checks are asked from here.
    looked = run.session.map(
        lambda host: _look(run, by_host[host], told.get((host, part), ())), list(by_host)
    )
    found = {
        host: looked.values.get(host, HostEvidence(None, roll.outcome))
        for host, roll in by_host.items()
    }
    wanted = next((roll.wanted for roll in rolls if roll.wanted), None)
    artifact = next((own[part] for own in run.artifacts.values() if part in own), None)
    images = next((own[part] for own in run.images.values() if part in own), None)
    code = part_code(run, rolls)
    record = collect(
        inventory=Path(run.request.inventory).stem,
        stack=part,
        version=version_of(wanted or "") or "unknown",
        run=run.id,
        who=run.who,
        command=run.request.command,
        outcome=outcome_of(rolls),
        exit_code=code,
        started=run.started,
        finished=datetime.now(UTC),
        hosts=found,
        artifact=_described(artifact) if artifact else None,
        images=images,
        plan=run.planned.to_json() if run.planned else None,
        rollback=document(run),
        reason=next((roll.error for roll in rolls if roll.error), _told(run.raised)),
        head=git_head(Path.cwd()),
        more={"06-run.json": describe(run, part, rolls, found)},
    )
    return write(run.request.evidence, _with_report(run, record))


def _with_report(run: Run, record: Record) -> Record:
    """Add figures and page; a defect in those must not cost the proof itself."""
    try:
        figures = measure(run, record.stack, record.outcome, record.exit_code)
        documents = {**record.documents, "metrics.json": figures}
        texts = {"metrics.prom": metrics_text([figures])}
        record = replace(record, documents=documents, texts=texts)
        return replace(record, texts={**texts, "report.html": page(record)})
    except Exception as error:
        run.notes.append(f"no report of {record.stack}: {type(error).__name__}: {error}")
        return record


def outcome_of(rolls: Sequence[Roll]) -> str:
    """Return the worst outcome of the hosts worked on."""
    there = [roll for roll in rolls if roll.outcome != "unreachable"] or rolls
    return max(there, key=lambda roll: WEIGHT.index(roll.code)).outcome


def _described(artifact: LocalArtifact) -> Artifact:
    return Artifact(artifact.shown, artifact.sha256, artifact.size, artifact.origin)


def part_code(run: Run, rolls: Sequence[Roll]) -> int:
    """Return the exit code of one part, `rolls`; never 0 for a run that broke."""
    return max((roll.code for roll in rolls), key=WEIGHT.index, default=0) or _raised(run.raised)


def code_of(run: Run) -> int:
    """Return the exit code of the whole run, also when it broke."""
    return part_code(run, run.rolls)


def _raised(raised: BaseException | None) -> int:
    """Return the exit code of a run that `raised`, 0 for none."""
    if raised is None:
        return 0
    return 130 if isinstance(raised, KeyboardInterrupt) else getattr(raised, "exit_code", 1) or 1


def _told(raised: BaseException | None) -> str:
    if isinstance(raised, KeyboardInterrupt):
        return "interrupted"
    return "" if raised is None else str(raised) or type(raised).__name__


def _look(run: Run, roll: Roll, told: Sequence[Any]) -> HostEvidence:
    """Judge what one host told of a part; whatever it did not answer is left out."""
    answers: dict[str, Any] = {}
    release = roll.wanted if roll.confirmed else roll.now
    judges = {
        "inspect": lambda answer: answer,
        "checks": lambda answer: verify_host(run, roll, release, answer),
    }
    for (key, judge), answer in zip(judges.items(), told, strict=False):
        try:
            if isinstance(answer, StackpinError):
                raise answer
            answers[key] = judge(answer)
        except StackpinError as error:
            run.notes.append(f"{roll.host}: no {key} for the evidence: {error}")
    if "checks" in answers and roll.checks is None:
        roll.checks = answers["checks"]
    return HostEvidence(
        release=release,
        outcome=roll.outcome,
        inspect=answers.get("inspect"),
        checks=answers.get("checks"),
        public=roll.public,
        timings=roll.timings,
    )


def _ask(run: Run, rolls: Sequence[Roll]) -> Told:
    """Put `inspect` and `verify` of all parts to each host: one exec."""
    asked: dict[str, list[str]] = {}
    for roll in rolls:
        if roll.outcome not in {"unknown", "unreachable"}:
            asked.setdefault(roll.host, []).append(roll.part)
    found: Told = {}

    def one(host: str) -> None:
        parts = asked[host]
        calls = [
            call for part in parts for call in (("inspect", part, {}), ("verify", part, WHERE))
        ]
        try:
            answers = run.session.many(host, calls, timeout=TIMEOUT)
        except StackpinError as error:
            answers = [error] * len(calls)
        for at, part in enumerate(parts):
            found[host, part] = answers[2 * at : 2 * at + 2]

    run.session.map(one, list(asked))
    return found
