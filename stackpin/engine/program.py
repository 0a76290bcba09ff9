"""How the host program is called and understood: its texts, without a connection."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from stackpin.engine import bundle
from stackpin.engine.channel import Ran
from stackpin.engine.gather.memory import Call
from stackpin.engine.gather.script import Output
from stackpin.engine.remote_errors import RemoteError, judge

__all__ = ["MISSING", "answers", "asked", "document", "judged", "start"]

MISSING = 90  # exit status where the host has not this build of the program


def start(digest: str, command: str, stack: str) -> str:
    """Return the shell text that runs `command` for `stack`; it ends with MISSING without it."""
    # One exec when the program is there. `exec` keeps the exit status its own. -IS: its own modules
    # and the standard library, whatever the environment says; it starts sooner, too.
    path = bundle.unpacked(digest)
    return (
        f"[ -e {path} ] || exit {MISSING}; "
        f"exec python3 -IS {path} {shlex.quote(command)} {shlex.quote(stack)}"
    )


def asked(calls: Sequence[Call]) -> str:
    """Return the payload of the host program's `many`."""
    asked = [{"command": name, "stack": stack, "payload": dict(p)} for name, stack, p in calls]
    return json.dumps({"calls": asked})


def answers(output: Output | None, calls: Sequence[Call]) -> dict[str, Any]:
    """Return what `many` answered to `calls`; without any `answers` where it did not."""
    try:
        document = json.loads("\n".join(output.stdout)) if output is not None else {}
    except ValueError:
        document = {}
    answers = document.get("answers") or []
    whole = answers and len(answers) == len(calls)
    return document if whole else {"answers": []}


def document(host: str, command: str, ran: Ran) -> dict[str, Any]:
    """Return what `command` wrote, ok or not; RemoteError when that is no document."""
    try:
        found = json.loads(ran.stdout)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        last = ran.stderr.strip()[-500:] or "nothing on stderr"
        raise RemoteError(host, f"`{command}` ended with status {ran.status} and no answer: {last}")
    return found


def judged(host: str, answer: Mapping[str, Any]) -> dict[str, Any] | RemoteError:
    """Return the document, or as a value the error that it reports."""
    try:
        return judge(host, answer)
    except RemoteError as error:
        return error
