"""Dispatch: `python3 host.pyz COMMAND STACK [ARGUMENT]`, a JSON object in, one JSON object out."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from stackpin.host.errors import HostError, failed, refused
from stackpin.host.lock import require_token
from stackpin.host.progress import say
from stackpin.host.stack import Stack

__all__ = ["COMMANDS", "Command", "answer", "main", "perform"]

Handler = Callable[[Stack, dict[str, Any]], dict[str, Any]]


class Command(NamedTuple):
    """Where a command lives.

    module: of stackpin.host, with the function in its COMMANDS. bare: works without stack.json.
    changes: changes state, so a live lease must be presented. argument: the payload key that a
    third word on the command line fills (systemd units have no standard input to use).
    """

    module: str
    bare: bool = False
    changes: bool = False
    argument: str | None = None


COMMANDS: dict[str, Command] = {
    "many": Command("many", bare=True),
    "state": Command("state", bare=True),
    "receive": Command("releases", changes=True),
    "begin": Command("stages", changes=True),
    "rehearse": Command("stages", changes=True),
    "start": Command("stages", changes=True),
    "gate": Command("stages", changes=True),
    "switch": Command("stages_live", changes=True),
    "probe": Command("stages_live", changes=True),
    "confirm": Command("stages_live", changes=True),
    "retire": Command("stages_live", changes=True),
    "abort": Command("guard", changes=True),
    "recover": Command("guard", changes=True),
    "guard": Command("guard", argument="token"),
    "boot": Command("guard"),
    "rollout": Command("rollout", changes=True),
    "service": Command("service", changes=True),
    "maintenance": Command("service", changes=True),
    "prune": Command("prune", changes=True),
    "lock-acquire": Command("lock", bare=True),
    "lock-renew": Command("lock", bare=True),
    "lock-release": Command("lock", bare=True),
    "lock-steal": Command("lock", bare=True),
    "lock-show": Command("lock", bare=True),
    "write": Command("files", bare=True, changes=True),
    "verify": Command("gate"),
    "pull": Command("pull", bare=True),
    "images": Command("images", bare=True),
    "register": Command("register", bare=True, changes=True),
    "worker": Command("register", bare=True),
    "unregister": Command("register", bare=True),
    "fleet": Command("fleet"),
    "redis-lease": Command("redis_lease"),
    "schema": Command("schema"),
    "inspect": Command("inspect", bare=True),
    "clues": Command("clues", bare=True),
    "preflight": Command("preflight", bare=True),
    "nginx-test": Command("nginx", bare=True),
    "nginx-apply": Command("nginx", bare=True, changes=True),
    "backup": Command("backup"),
    "backup-list": Command("backup"),
    "backup-verify": Command("backup"),
    "restore": Command("restore", changes=True),
    "uninstall-list": Command("uninstall", bare=True),
    "uninstall": Command("uninstall", bare=True, changes=True),
}


def perform(name: str, stack_name: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Run one command and return its answer without the `ok` key.

    payload: the command's own keys, plus `lock_token` when the caller holds the lease.
    Raises HostError.
    """
    command = COMMANDS.get(name)
    if command is None:
        raise refused(f"unknown command {name!r}; known: {', '.join(sorted(COMMANDS))}")
    stack = Stack.load(stack_name)
    if not command.bare:
        stack.require()
    if command.changes:
        token = payload.get("lock_token") or os.environ.get("STACKPIN_LOCK_TOKEN")
        require_token(stack, token)
    module = importlib.import_module(f"stackpin.host.{command.module}")
    handler: Handler = module.COMMANDS[name]
    return handler(stack, payload)


def main(argv: list[str] | None = None) -> int:
    """Run the program; return its exit status. Standard output gets exactly one document."""
    # A cut SSH connection must not stop a command half-way.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    words = sys.argv[1:] if argv is None else argv
    try:
        if len(words) < 2:
            raise refused("usage: host.pyz COMMAND STACK, with a JSON object on standard input")
        document, code = answer(words[0], words[1], _payload(words))
    except HostError as error:
        document, code = _problem(error), error.exit_code
    _emit(document)
    return code


def answer(name: str, stack_name: str, payload: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Run one command; return the document it answers with, `ok` or an error in it, and a code."""
    try:
        return {"ok": True, **perform(name, stack_name, payload)}, 0
    except HostError as error:
        return _problem(error), error.exit_code
    except Exception as error:
        unexpected = failed(f"{type(error).__name__}: {error}", where=_place(error))
        return _problem(unexpected), unexpected.exit_code


def _payload(words: list[str]) -> dict[str, Any]:
    try:
        text = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read()
    except (OSError, ValueError):
        text = ""
    try:
        payload = json.loads(text) if text.strip() else {}
    except ValueError as error:
        raise refused(f"standard input: not JSON ({error})") from error
    if not isinstance(payload, dict):
        raise refused("standard input: expected a JSON object")
    command = COMMANDS.get(words[0])
    if command and command.argument and len(words) > 2:
        payload.setdefault(command.argument, words[2])
    return payload


def _problem(error: HostError) -> dict[str, Any]:
    say(f"{error.kind}: {error.message}")
    body = {"kind": error.kind, "message": error.message, "detail": error.detail}
    return {"ok": False, "error": body}


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    place = ""
    while trace is not None:
        code = trace.tb_frame.f_code
        place = f"{os.path.basename(code.co_filename)}:{trace.tb_lineno} {code.co_name}"  # noqa: PTH119
        trace = trace.tb_next
    return place


def _emit(answer: dict[str, Any]) -> None:
    data = (json.dumps(answer, ensure_ascii=True, default=str) + "\n").encode()
    try:
        while data:
            data = data[os.write(1, data) :]
    except OSError:
        # Nobody reads any more; what was done stays done and recorded.
        return
