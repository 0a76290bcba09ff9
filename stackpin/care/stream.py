"""Bring log lines from hosts as they are written."""

from __future__ import annotations

import codecs
import json
import shlex
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

from stackpin.care.fleet import Answers, parts_on, service_on, slot_part
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
    show: Callable[[str, str], None],
) -> Answers:
    """Call `show(host, line)` for each log line of the service on every host.

    `options`: follow (bool), lines (int or None), since (journalctl's time or None), slot (blue,
    green or None for the live one). Secrets are masked on the host. Returns when all hosts are
    done; with follow that is when the connections end.
    """
    first = slot_part(stack)

    def one(host: str) -> dict[str, Any]:
        part = service_on(session, stack, host)
        _read(session, host, part, options, lambda line: show(host, line))
        return {}

    def key(host: str) -> tuple[str, str]:
        names = parts_on(session, stack, host)
        # The first service of the stack, or that of a host which has another one.
        return host, first if first in names or not names else names[0]

    answers = Answers()
    for host, problem in session.problems.items():
        answers.errors[key(host)] = StackpinError(problem.message)
    done = session.map(one)
    answers.values.update({key(host): value for host, value in done.values.items()})
    answers.errors.update({key(host): error for host, error in done.errors.items()})
    return answers


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
