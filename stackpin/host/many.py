"""Several questions in one call: a host with many stacks is asked with a single SSH command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from stackpin.host import main
from stackpin.host.errors import refused
from stackpin.host.questions import LEASES, READING
from stackpin.host.stack import Stack
from stackpin.host.timer import INSTALLED

__all__ = ["COMMANDS", "many"]

AT_ONCE = 8


def many(stack: Stack, payload: dict[str, Any]) -> dict[str, Any]:
    """Answer several commands at once: many {calls: [{command, stack, payload?}]}.

    -> {answers: [{ok: true, ...} or {ok: false, error: {kind, message, detail}}], installed}, in
    the order of the calls; one that fails leaves the others alone. installed: whether the program
    in its lasting place is this one: same, other, or none. Only for commands that change nothing,
    and for the leases of a host's parts, which come and go together: any other change wants its
    own answer.
    """
    calls = payload.get("calls") or []
    for call in calls:
        if call.get("command") not in READING | LEASES:
            expected = ", ".join(sorted(READING | LEASES))
            raise refused(f"many: command {call.get('command')!r}; expected one of {expected}")
    return {"answers": _answers(calls), "installed": _installed(stack)}


def _answers(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    # Leases first: what is asked beside them is as it is once they are taken.
    found = {n: _one(call) for n, call in enumerate(calls) if call["command"] in LEASES}
    questions = [n for n in range(len(calls)) if n not in found]
    found.update(zip(questions, _at_once([calls[n] for n in questions]), strict=True))
    return [found[n] for n in range(len(calls))]


def _at_once(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if len(calls) < 2:
        return [_one(call) for call in calls]
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - brings logging

    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        return list(pool.map(_one, calls))


def _installed(stack: Stack) -> str:
    mine = Path(sys.path[0])  # an archive, or the folder it was unpacked to
    try:
        there = stack.at(INSTALLED).read_bytes()
    except FileNotFoundError:
        return "none"
    try:
        same = (mine / "zip" if mine.is_dir() else mine).read_bytes() == there
    except OSError:
        same = False
    return "same" if same else "other"


def _one(call: dict[str, Any]) -> dict[str, Any]:
    document, _code = main.answer(call["command"], str(call["stack"]), call.get("payload") or {})
    return document


COMMANDS = {"many": many}
