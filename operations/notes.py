"""What each operation would change, in words and diffs: the raw material of a plan.

Pyinfra's own prediction stops at an operation's first command and knows only *that* something
changes. Our operations therefore call `note` for every change before they yield anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pyinfra.context import host

Kind = Literal[
    "package",
    "account",
    "program",
    "file",
    "directory",
    "link",
    "unit",
    "repository",
    "certificate",
    "release",
    "service",
]


@dataclass(frozen=True)
class Change:
    """One thing that would change on one host.

    `before`/`after` are short descriptions (None: absent), never contents. `diff` holds unified
    diff lines without line ends; it is always empty when `secret` is true.
    """

    kind: Kind
    subject: str
    before: str | None
    after: str | None
    diff: list[str] = field(default_factory=list)
    secret: bool = False


# Keyed (host name, operation hash), then (kind, subject): an operation's generator runs once to
# predict and once to apply, and the later word about the same thing replaces the earlier one.
_notes: dict[tuple[str, str], dict[tuple[str, str], Change]] = {}


def note(change: Change) -> None:
    """Record `change` for the operation that is running now, on the host it runs on."""
    if change.secret and change.diff:
        change = Change(change.kind, change.subject, change.before, change.after, [], True)
    key = (host.name, host.current_op_hash or "")
    _notes.setdefault(key, {})[(change.kind, change.subject)] = change


def collect() -> dict[tuple[str, str], list[Change]]:
    """All changes noted since the last `reset`, by (host name, operation hash), in order."""
    return {key: list(changes.values()) for key, changes in _notes.items()}


def reset() -> None:
    """Forget everything: call before each load of deploy files in one process."""
    _notes.clear()
