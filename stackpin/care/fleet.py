"""Put one question, or one change, to the same stack on several hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from stackpin.care.parts import parts, parts_on
from stackpin.engine.interrupts import interruptible
from stackpin.engine.session import Session
from stackpin.errors import StackpinError
from stackpin.rollout.lease import leases

__all__ = ["Answers", "Voice", "ask", "ask_all", "change", "worst"]


class Voice(Protocol):
    """Where messages go: the command's Output, or anything with the same two methods."""

    def line(self, text: str = "") -> None:
        """Say a result."""

    def note(self, text: str) -> None:
        """Say progress or a problem."""


@dataclass
class Answers:
    """What hosts answered to one command, by (host, part); `errors` has the rest by the same key.

    A host that could not be connected is in `errors` for every part.
    """

    values: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    errors: dict[tuple[str, str], Exception] = field(default_factory=dict)

    def exit_code(self) -> int:
        """0 without errors; else the worst of them: 5 and 4 as reported, a lone refusal 3, else 1.

        A refusal counts as 3 only where every host refused: otherwise something was touched.
        """
        codes = {getattr(error, "exit_code", 1) for error in self.errors.values()}
        if not codes:
            return 0
        for code in (5, 4):
            if code in codes:
                return code
        return 3 if codes == {3} and not self.values else 1

    def report(self, voice: Voice) -> None:
        """Say every error once; a message of the host program names its host already."""
        said: set[str] = set()
        for (host, _part), error in self.errors.items():
            text = str(error) if isinstance(error, StackpinError) else _unexpected(host, error)
            if text not in said:
                voice.note(f"stackpin: {text}")
            said.add(text)

    def values_json(self) -> list[dict[str, Any]]:
        """Return the answers as JSON values, each with its host and stack."""
        return [
            {"host": host, "stack": part, **{k: v for k, v in answer.items() if k != "ok"}}
            for (host, part), answer in self.values.items()
        ]

    def errors_json(self) -> list[dict[str, str]]:
        """Return the errors as JSON values."""
        return [
            {"host": host, "stack": part, "kind": type(error).__name__, "message": str(error)}
            for (host, part), error in self.errors.items()
        ]


def ask(
    session: Session,
    stack: str,
    command: str,
    payload: Mapping[str, Any] | None = None,
    *,
    timeout: float = 60.0,
    on_line: Callable[[str, str], None] | None = None,
    only: Sequence[str] | None = None,
) -> Answers:
    """Put `command` to every part on every host at once; `on_line(host, text)` gets progress.

    `only` leaves out every part that it does not name.
    """

    def one(host: str) -> Answers:
        got = Answers()
        for part in _asked(session, stack, host, only):
            line = None if on_line is None else _bound(on_line, host)
            try:
                got.values[host, part] = session.call(
                    host, command, part, payload, timeout=timeout, on_line=line
                )
            except Exception as error:
                got.errors[host, part] = error
        return got

    answers = _unreached(session, stack, only)
    for got in session.map(one).all().values():
        answers.values.update(got.values)
        answers.errors.update(got.errors)
    return answers


def ask_all(
    session: Session,
    stack: str,
    commands: Mapping[str, Mapping[str, Any]],
    *,
    timeout: float = 60.0,
) -> dict[str, Answers]:
    """Put several commands (each with its payload) to every part: one SSH exec per host.

    Only for commands that change nothing; see `many` of the host program.
    """

    def one(host: str) -> dict[str, Answers]:
        calls = [
            (command, part, payload)
            for part in parts_on(session, stack, host)
            for command, payload in commands.items()
        ]
        got = {command: Answers() for command in commands}
        try:
            answers: Sequence[Any] = session.many(host, calls, timeout=timeout)
        except Exception as error:
            answers = [error] * len(calls)
        for (command, part, _payload), answer in zip(calls, answers, strict=True):
            kept = got[command].errors if isinstance(answer, Exception) else got[command].values
            kept[host, part] = answer
        return got

    found = {command: _unreached(session, stack) for command in commands}
    for by_command in session.map(one).all().values():
        for command, got in by_command.items():
            found[command].values.update(got.values)
            found[command].errors.update(got.errors)
    return found


@contextmanager
def change(
    session: Session, stack: str, reason: str, hosts: Sequence[str] | None = None
) -> Iterator[None]:
    """Hold the lease of every part on `hosts` (default all) while something is changed."""
    with interruptible(), ExitStack() as held:
        names = hosts or session.hosts
        for part in parts(stack):
            having = [host for host in names if part in parts_on(session, stack, host)]
            if having:
                held.enter_context(leases(session, part, having, reason=reason))
        yield


def worst(*codes: int) -> int:
    """Return the exit code that must not be hidden by the others: 5, 4, 1, 3, 2, then 0."""
    return min(codes, key=(5, 4, 1, 3, 2, 0).index)


def _asked(session: Session, stack: str, host: str, only: Sequence[str] | None) -> tuple[str, ...]:
    having = parts_on(session, stack, host)
    return tuple(part for part in having if only is None or part in only)


def _unreached(session: Session, stack: str, only: Sequence[str] | None = None) -> Answers:
    """Begin the answers with the hosts that could not be connected."""
    answers = Answers()
    for host, problem in session.problems.items():
        for part in _asked(session, stack, host, only):
            answers.errors[host, part] = StackpinError(problem.message)
    return answers


def _bound(on_line: Callable[[str, str], None], host: str) -> Callable[[str], None]:
    return lambda text: on_line(host, text)


def _unexpected(host: str, error: Exception) -> str:
    return f"{host}: unexpected {type(error).__name__}: {error}"
