"""Bring log lines from hosts as they are written."""

from __future__ import annotations

import codecs
import heapq
import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources
from typing import Any

from gevent.pool import Pool

from stackpin.care.fleet import Answers
from stackpin.care.parts import parts_on, services, services_on
from stackpin.engine import bundle
from stackpin.engine.remote import RemoteError, RemoteRefused
from stackpin.engine.session import Session
from stackpin.errors import StackpinError

__all__ = ["stream"]

# A stream has no deadline; one for a single reading keeps a hung host from hanging the command.
YEAR = 365 * 86400.0
ONCE = 300.0


def stream(
    session: Session,
    stack: str,
    options: Mapping[str, Any],
    show: Callable[[str, str, str], None],
    service: str | None = None,
) -> Answers:
    """Call `show(host, part, line)` for each log line of the services on every host.

    `options`: follow (bool), lines (int or None), since (journalctl's time or None), slot (blue,
    green or None for the live one). `service` names one of several. Lines of several services of a
    host come in the order of their times. Secrets are masked on the host. Returns when all hosts
    are done; with follow that is when the connections end.
    """

    def one(host: str) -> Answers:
        got = Answers()
        parts = services_on(session, stack, host, service)
        kept: dict[str, list[str]] = {part: [] for part in parts}
        at_once = options["follow"] or len(parts) == 1

        def read(part: str) -> None:
            def line(text: str) -> None:
                if at_once:
                    show(host, part, text)
                else:
                    kept[part].append(text)

            try:
                _read(session, host, part, options, line)
                got.values[host, part] = {}
            except Exception as error:
                got.errors[host, part] = error

        Pool(len(parts)).map(read, parts)
        for part, text in _by_time(kept):
            show(host, part, text)
        return got

    answers = Answers()
    for host, problem in session.problems.items():
        answers.errors[host, _first(session, stack, host)] = StackpinError(problem.message)
    done = session.map(one)
    for got in done.values.values():
        answers.values.update(got.values)
        answers.errors.update(got.errors)
    for host, error in done.errors.items():
        answers.errors[host, _first(session, stack, host)] = error
    return answers


def _first(session: Session, stack: str, host: str) -> str:
    """Return the first service of the stack, or that of a host which has another one."""
    names, first = parts_on(session, stack, host), services(stack)[0]
    return first if first in names or not names else names[0]


def _by_time(kept: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """Merge the lines of several parts: every line begins with its time, or belongs to the last."""
    return ((part, text) for _, part, text in heapq.merge(*map(_stamped, kept.items())))


def _stamped(item: tuple[str, Sequence[str]]) -> Iterator[tuple[tuple[str, int], str, str]]:
    part, lines = item
    stamp = ""
    for number, text in enumerate(lines):
        if text[:4].isdigit() and text[4:5] == "-":
            # To the second: journalctl's times and docker's differ after that. A host's zone is
            # the same for all of journalctl's, and UTC for all of docker's.
            stamp = text[:19]
        yield (stamp, number), part, text


def _read(
    session: Session,
    host: str,
    part: str,
    options: Mapping[str, Any],
    show: Callable[[str], None],
) -> None:
    # Any command of the host program brings the program there, which the follower reads from.
    if not session.call(host, "state", part).get("installed"):
        raise RemoteRefused(host, f"{part} is not installed here; `stackpin deploy` installs it")
    _program, digest = bundle.host_program()
    follower = resources.files("stackpin.care").joinpath("follow.py").read_text("utf-8")
    argv = ["python3", "-c", follower, f"/run/stackpin/host-{digest[:12]}.pyz", part]
    command = f"exec {shlex.join([*argv, json.dumps(dict(options))])}"
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    rest = ""

    def on_stdout(block: bytes) -> None:
        nonlocal rest
        *lines, rest = (rest + decode(block)).split("\n")
        for line in lines:
            show(line)

    timeout = YEAR if options["follow"] else ONCE
    ran = session.remote(host).run(command, timeout=timeout, on_stdout=on_stdout)
    if rest:
        show(rest)
    if ran.status != 0:
        raise RemoteError(host, f"reading the log failed: {ran.stderr.strip()[-300:]}")
