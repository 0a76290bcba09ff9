"""What else tells why a stack does not work: the last log lines of its slots, and certificates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stackpin.host import nginx, releases, slots
from stackpin.host.checks_local import days_left
from stackpin.host.drivers import driver
from stackpin.host.envfile import parse_env
from stackpin.host.errors import HostError
from stackpin.host.masking import Masker
from stackpin.host.stack import SLOTS, Stack

__all__ = ["COMMANDS", "clues"]

LINES = 60
_CERTIFICATE = re.compile(r"^\s*ssl_certificate\s+([^\s;]+);", re.MULTILINE)


def clues(stack: Stack, payload: dict[str, Any]) -> dict[str, Any]:
    """Read what no other question does: clues {lines?: of each log, 60}.

    -> {logs: {slot: [line]}, certificates: [{path, days, problem}]}. Logs are those of slots that
    hold a release, without the secrets of any release on this host. Certificates are those that
    nginx serves for the stack; `days` are left, None where `problem` says why not. What cannot be
    read is left out: this looks on when something is broken already.
    """
    if not stack.installed:
        return {"logs": {}, "certificates": []}
    logs = {} if stack.is_static else _logs(stack, int(payload.get("lines") or LINES))
    return {"logs": logs, "certificates": list(_certificates(stack))}


def _logs(stack: Stack, lines: int) -> dict[str, list[str]]:
    # A journal goes back further than the release that runs: what it knew is kept out as well.
    masks = [
        Masker.of(parse_env(path.read_text(encoding="utf-8")))
        for path in sorted(stack.releases_dir.glob("*/env"))
    ]
    found: dict[str, list[str]] = {}
    for slot in SLOTS:
        release = slots.linked(stack, slot)
        if release is None:
            continue
        env = releases.environment(stack, release, slot)
        try:
            rows = driver(stack).last_log(stack, slot, env, lines=lines)
        except HostError as problem:
            rows = [f"not readable: {problem.message}"]
        for mask in masks:
            rows = [mask(row) for row in rows]
        found[slot] = rows
    return found


def _certificates(stack: Stack) -> Iterator[dict[str, Any]]:
    sites = [stack.at(f"{nginx.HOME}/sites-enabled/stackpin-{stack.name}.conf")]
    sites += [stack.at(path) for path in stack.owned if path.startswith(f"{nginx.HOME}/")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sites if path.is_file())
    for name in dict.fromkeys(_CERTIFICATE.findall(text)):
        try:
            days = round(days_left(Path(stack.at(name)).read_text(encoding="ascii"), 10.0), 1)
        except (HostError, OSError, ValueError) as problem:
            yield {"path": name, "days": None, "problem": str(problem)}
        else:
            yield {"path": name, "days": days, "problem": ""}


COMMANDS = {"clues": clues}
