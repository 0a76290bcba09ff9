"""A fact that a question answers as well: the state of a stack, which plans ask for, too."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from facts.stacks import StackState
from stackpin.engine.gather.jobs import Job
from stackpin.engine.gather.memory import Call
from stackpin.engine.gather.script import Output

__all__ = ["outputs", "told_by"]


def told_by(wanted: Sequence[Job], calls: Sequence[Call], mine: Job | None) -> dict[Job, int]:
    """Return the jobs of `wanted` that one of `calls` answers, by its number.

    The host program is asked with the rights of `mine`.
    """
    rights = mine.rights if mine is not None else None
    texts = {
        StackState().command(stack=stack): number
        for number, (command, stack, payload) in enumerate(calls)
        if command == "state" and not payload
    }
    return {job: texts[job.text] for job in wanted if job.text in texts and job.rights == rights}


def outputs(jobs: Mapping[Job, int], document: Mapping[str, Any]) -> dict[Job, Output]:
    """Return what each job would have brought, told from the answer of `many`; maybe nothing.

    The fact is about the installed program, and that may be another than the one that answered.
    """
    installed = document.get("installed")
    if installed == "none":
        return dict.fromkeys(jobs, Output(0, (), ()))
    if installed != "same":
        return {}
    answers = document["answers"]
    return {job: Output(0, (json.dumps(answers[number]),), ()) for job, number in jobs.items()}
