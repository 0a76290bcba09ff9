"""The record of what happened to a stack: one JSON line per event, durable before it is believed.

Line: {t, run, event, release, from, slot, who, command, reason}; t is ISO 8601 UTC. Events: begin
rehearsed started gated switched confirmed retired reverted failed backup restore service
maintenance stolen.
"""

from __future__ import annotations

import json
import os
from typing import Any

from stackpin.host.clock import now_text
from stackpin.host.disk import sync_dir
from stackpin.host.mutex import state_dir
from stackpin.host.stack import Stack

__all__ = ["KEYS", "append", "last_good", "outcome", "read"]

KEYS = ("release", "from", "slot", "who", "command", "reason")
OUTCOMES = ("confirmed", "reverted", "failed")


def append(stack: Stack, event: str, run: str | None = None, **values: object) -> dict[str, Any]:
    """Add one line and return it; keys of KEYS not given are null, others are kept too."""
    line: dict[str, Any] = {"t": now_text(), "run": run, "event": event}
    line.update(dict.fromkeys(KEYS))
    line.update(values)
    state_dir(stack)
    path = stack.journal_file
    born = not path.exists()
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(fd).st_size
        # A power cut may have left half a line: end it, so that this one can be read.
        torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
        os.write(fd, (b"\n" if torn else b"") + json.dumps(line, default=str).encode() + b"\n")
        os.fsync(fd)
    finally:
        os.close(fd)
    if born:
        sync_dir(path.parent)
    return line


def read(stack: Stack, last: int | None = None) -> list[dict[str, Any]]:
    """Return the lines, oldest first; half-written ones are left out."""
    try:
        text = stack.journal_file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    lines = []
    for row in text.splitlines():
        try:
            value = json.loads(row)
        except ValueError:
            continue
        if isinstance(value, dict) and "event" in value:
            lines.append(value)
    return lines if last is None else lines[-last:]


def outcome(lines: list[dict[str, Any]], run: str) -> str | None:
    """Return how a run ended (`confirmed`, `reverted`, `failed`), None while it has not."""
    events = [str(line["event"]) for line in lines if line.get("run") == run]
    return next((event for event in reversed(events) if event in OUTCOMES), None)


def last_good(stack: Stack, live: str | None) -> str | None:
    """Return the release a rollback goes to: the one proven before the live one.

    Confirmed releases form a stack of papers: a deploy puts one on top, a rollback takes off
    those above its target. So a second rollback goes further back and not to the release the
    first one fled from. Releases no longer on this host are passed over.
    """
    proven: list[str] = []
    for line in read(stack):
        release = line.get("release")
        if line["event"] != "confirmed" or not isinstance(release, str):
            continue
        if line.get("command") == "rollback" and release in proven:
            del proven[proven.index(release) + 1 :]
        elif release in proven:
            proven.remove(release)
            proven.append(release)
        else:
            proven.append(release)
    if live in proven:
        proven = proven[: proven.index(live)]
    for release in reversed(proven):
        if release != live and (stack.release_dir(release) / "release.json").is_file():
            return release
    return None
