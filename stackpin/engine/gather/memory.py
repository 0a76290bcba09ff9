"""What is known of one host for the moment: facts' outputs and answers, until something changes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from stackpin.engine.gather.jobs import Job
from stackpin.engine.gather.script import Output

__all__ = ["Call", "Memory"]

T = TypeVar("T")
MAX_AGE = 120.0  # seconds that an output may answer for the host
Call = tuple[str, str, Mapping[str, Any]]
"""A question to the host program: command, stack, payload."""


class Memory:
    """One host's outputs by job, and the host program's answers by call.

    Everything is forgotten when anything may have changed the host (`changing`), and what was
    read while something changed is not kept. `offline` says that deploy files are loaded without
    asking the host: what they want to know and nobody knows is collected in `wanted`, and a fact
    that can only be read alone makes that load `incomplete`. `of_operation` has the jobs of each
    operation by its hash, `ahead` those worth reading behind the change that is at work, `used` the
    fact list's entries of each stack part. On a `live` host facts are read one by one: reading them
    together did not work there. `calls` wait to go along with the next exec that reads facts.
    """

    def __init__(self) -> None:
        self.offline = False
        self.live = False
        self.incomplete = False
        self.calls: list[Call] = []
        self.wanted: dict[Job, None] = {}
        self.of_operation: dict[str, dict[Job, None]] = {}
        self.ahead: Sequence[Job] = ()
        self.used: dict[str, dict[str, dict[str, Any]]] = {}
        self.generation = 0
        self._outputs: dict[Job, tuple[float, Output]] = {}
        self._answers: dict[str, tuple[float, dict[str, Any]]] = {}

    def output(self, job: Job) -> Output | None:
        """Return what `job` brought, if that may still be so."""
        return _fresh(self._outputs.get(job))

    def known(self) -> list[Job]:
        """Return the jobs whose outputs are kept."""
        return list(self._outputs)

    def answer(self, call: Call) -> dict[str, Any] | None:
        """Return the host program's answer to `call`, ok or not, if that may still be so."""
        return _fresh(self._answers.get(_key(call)))

    def keep(
        self,
        generation: int,
        outputs: Mapping[Job, Output],
        answers: Iterable[tuple[Call, dict[str, Any]]] = (),
    ) -> None:
        """Remember what was read, unless the host changed since `generation`."""
        if generation != self.generation:
            return
        now = time.monotonic()
        self._outputs.update({job: (now, output) for job, output in outputs.items()})
        self._answers.update({_key(call): (now, answer) for call, answer in answers})

    def forget(self) -> None:
        """Forget everything that was read."""
        self.generation += 1
        self._outputs.clear()
        self._answers.clear()

    def expire(self, age: float) -> None:
        """Forget everything if anything of it was read more than `age` seconds ago."""
        read = [when for when, _ in (*self._outputs.values(), *self._answers.values())]
        if read and time.monotonic() - min(read) > age:
            self.forget()

    @contextmanager
    def unasked(self) -> Iterator[None]:
        """Let facts be `offline`: what is not known is only collected."""
        self.offline = not self.live
        try:
            yield
        finally:
            self.offline = False

    def want(self, job: Job | None) -> None:
        """Note a fact that is not known; None is one that can only be read alone."""
        if job is None:
            self.incomplete = True
        else:
            self.wanted[job] = None

    def begin(self) -> None:
        """Start noting what a load of deploy files uses."""
        self.incomplete, self.wanted, self.of_operation, self.used = False, {}, {}, {}

    def take(self) -> list[Job]:
        """Return what was `wanted`, and start anew."""
        found, self.wanted = list(self.wanted), {}
        return found

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Forget what is known before and after something that may change the host."""
        self.forget()
        try:
            yield
        finally:
            self.forget()


def _key(call: Call) -> str:
    return json.dumps(call, sort_keys=True)


def _fresh(kept: tuple[float, T] | None) -> T | None:
    return kept[1] if kept is not None and time.monotonic() - kept[0] <= MAX_AGE else None
