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

__all__ = ["MISSING", "NOT_PLACED", "answers", "asked", "document", "judged", "placing", "start"]

MISSING = 90  # exit status where the host has not this build of the program
NOT_PLACED = 91  # exit status where it could not be put there


def start(digest: str, command: str, stack: str) -> str:
    """Return the shell text that runs `command` for `stack`; it ends with MISSING without it."""
    # One exec when the program is there. `exec` keeps the exit status its own. -IS: its own modules
    # and the standard library, whatever the environment says; it starts sooner, too.
    path = bundle.unpacked(digest)
    return (
        f"[ -e {path} ] || exit {MISSING}; "
        f"exec python3 -IS {path} {shlex.quote(command)} {shlex.quote(stack)}"
    )


def placing(digest: str, size: int) -> str:
    """Return the shell text that puts the program in its folder; it ends with NOT_PLACED if not.

    The program is the first `size` bytes of standard input; what follows them is not touched.
    """
    path = bundle.unpacked(digest)
    # Unpacked, since Python keeps what it compiled beside a file, not in an archive: a third of
    # each later call's time; the archive itself says what the folder has. In a folder beside, and
    # renamed: no other run starts half of it. dd: it reads no byte too many.
    return (
        f"{{ (umask 077; mkdir -p -m 0700 {path.rpartition('/')[0]} && "
        f"t=$(mktemp -d {path}.XXXXXX) && dd bs=64K iflag=fullblock,count_bytes count={size} "
        "of=$t/zip status=none && "
        f'echo "{digest}  $t/zip" | sha256sum -c --status && '
        "python3 -m zipfile -e $t/zip $t </dev/null && "
        f"{{ mv -T $t {path} 2>/dev/null || {{ rm -r $t; [ -e {path} ]; }}; }}) "
        f"|| exit {NOT_PLACED}; }}"
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
