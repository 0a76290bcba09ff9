"""The host program: putting it on a host, and commands that call it."""

from __future__ import annotations

import base64
import json
from collections.abc import Generator, Mapping
from typing import Any

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from facts.files import Tree
from facts.stacks import PROGRAM
from operations.notes import Change, note

Commands = Generator[StringCommand, None, None]


def call(command: str, stack: str, payload: Mapping[str, Any]) -> StringCommand:
    """One run of the host program: `payload` travels as JSON on standard input, never in argv.

    When this run holds the host's lease, its token goes along: the host refuses changes by anyone
    else.
    """
    token = lock_token(stack)
    document = {**payload, "lock_token": token} if token else dict(payload)
    return StringCommand(
        "python3", PROGRAM, command, QuoteString(stack), _stdin=json.dumps(document)
    )


def lock_token(stack: str) -> str | None:
    """Return the token of the lease the caller of pyinfra holds on this host for `stack`."""
    tokens = host.connector_data.get("stackpin_lock_tokens") or {}
    token = tokens.get(stack) or host.data.get("stackpin_lock_token")
    return str(token) if token else None


@operation()
def installed(body: bytes, sha256: str) -> Commands:
    """Put the host program `body` in place, atomically and verified by its SHA-256.

    Sent as base64 on standard input: one command instead of SFTP's six round trips, and it works
    before Python is installed.
    """
    found = host.get_fact(Tree, paths=[PROGRAM]).get(PROGRAM)
    fits = found and (found.kind, found.mode, found.user) == ("file", "755", "root")
    if found and fits and found.sha256 == sha256:
        host.noop(f"{PROGRAM} is the program of this version")
        return
    before = (found.sha256 or found.kind)[:12] if found else None
    note(Change("program", PROGRAM, before, sha256[:12]))
    temporary = f"{PROGRAM}.{sha256[:12]}"
    yield StringCommand(
        f"install -d -m 0755 {PROGRAM.rpartition('/')[0]}"
        f" && install -m 0600 /dev/null {temporary}"
        f" && base64 -d > {temporary}"
        f" && echo '{sha256}  {temporary}' | sha256sum -c --status"
        f" && chown root:root {temporary} && chmod 0755 {temporary}"
        f" && sync {temporary} && mv -fT {temporary} {PROGRAM}",
        _stdin=base64.encodebytes(body).decode(),
    )
