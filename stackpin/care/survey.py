"""Read the state and the journals of a stack on all its hosts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from stackpin.care.fleet import Answers, ask_all
from stackpin.care.history import RunEntry, collate, live_run
from stackpin.care.parts import parts
from stackpin.care.status import HostStatus, summarise
from stackpin.config import stacks
from stackpin.engine.remote import RemoteError
from stackpin.engine.session import Session

__all__ = ["journals", "survey"]

VERIFY_TIMEOUT = 180.0
# Each run writes up to eight lines; the file is read once for all of them.
LINES_PER_RUN = 10


def survey(
    session: Session, stack: str, *, check: bool = False
) -> tuple[Answers, dict[tuple[str, str], HostStatus]]:
    """Return the answers, and a status per (host, part), hosts that failed included.

    With `check` the health checks of the live slot and the host run once as well. One SSH exec per
    host, however many parts it has.
    """
    commands: dict[str, dict[str, Any]] = {"state": {}}
    if check:
        commands["verify"] = {"where": ["slot", "host"]}
    timeout = VERIFY_TIMEOUT if check else 60.0
    asked = ask_all(session, stack, commands, timeout=timeout)
    answers, gates = asked["state"], asked["verify"].values if check else {}
    for key, error in asked["verify"].errors.items() if check else ():
        # A stack that serves nothing has no health; its state already says so.
        if answers.values.get(key, {}).get("live_release"):
            answers.errors.setdefault(key, error)
    statuses = {}
    for host, part in sorted({*answers.values, *answers.errors}, key=_order(session, stack)):
        state = answers.values.get((host, part))
        if state is None:
            statuses[host, part] = HostStatus(host, error=str(answers.errors[host, part]))
            continue
        variable = stacks.STACKS[part].version_variable
        pin = session.data(host).get(variable) if variable else None
        statuses[host, part] = summarise(
            host, state, pin=None if pin is None else str(pin), gate=gates.get((host, part))
        )
    return answers, statuses


def journals(
    session: Session, stack: str, number: int
) -> tuple[Answers, list[tuple[str, RunEntry]]]:
    """Return the answers and the last `number` runs of every host and part, oldest first."""
    answers = ask_all(session, stack, {"state": {}})["state"]
    found: list[tuple[str, RunEntry]] = []
    for (host, part), state in list(answers.values.items()):
        try:
            journal = _journal(session, host, part, number)
        except RemoteError as error:
            answers.errors[host, part] = error
            continue
        runs = collate(host, journal, live_run(state))
        found += [(part, run) for run in runs[-number:]]
    return answers, sorted(found, key=lambda entry: (entry[1].started, entry[1].host))


def _journal(session: Session, host: str, part: str, number: int) -> list[Mapping[str, Any]]:
    # `state` carries the last lines only; the whole file is needed for more runs than those.
    path = f"/var/lib/stackpin/{part}/releases.jsonl"
    text = f"if [ -e {path} ]; then tail -n {number * LINES_PER_RUN} {path}; fi"
    ran = session.run(host, text)
    if ran.status != 0:
        raise RemoteError(host, f"{path}: cannot be read: {ran.stderr.strip()[-200:]}")
    lines: list[Mapping[str, Any]] = []
    for line in ran.stdout.decode("utf-8", "replace").splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue  # a line cut by a power failure; the host ends it and goes on
        if isinstance(value, dict):
            lines.append(value)
    return lines


def _order(session: Session, stack: str) -> Any:  # noqa: ANN401 -- a key function
    names = [*session.hosts, *session.problems]
    order = parts(stack)
    return lambda key: (names.index(key[0]), order.index(key[1]))
