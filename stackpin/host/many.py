"""Several questions in one call: a host with many stacks is asked with a single SSH command."""

from __future__ import annotations

from typing import Any

from stackpin.host import main
from stackpin.host.errors import refused
from stackpin.host.questions import LEASES, READING
from stackpin.host.stack import Stack

__all__ = ["COMMANDS", "many"]

AT_ONCE = 8


def many(_stack: Stack, payload: dict[str, Any]) -> dict[str, Any]:
    """Answer several commands at once: many {calls: [{command, stack, payload?}]}.

    -> {answers: [{ok: true, ...} or {ok: false, error: {kind, message, detail}}]}, in the order of
    the calls; one that fails leaves the others alone. Only for commands that change nothing,
    and for the leases of a host's parts, which come and go together: any other change wants its
    own answer.
    """
    calls = payload.get("calls") or []
    for call in calls:
        if call.get("command") not in READING | LEASES:
            expected = ", ".join(sorted(READING | LEASES))
            raise refused(f"many: command {call.get('command')!r}; expected one of {expected}")
    if len(calls) == 1:
        return {"answers": [_one(calls[0])]}
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - brings logging

    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        return {"answers": list(pool.map(_one, calls))}


def _one(call: dict[str, Any]) -> dict[str, Any]:
    document, _code = main.answer(call["command"], str(call["stack"]), call.get("payload") or {})
    return document


COMMANDS = {"many": many}
