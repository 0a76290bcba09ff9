"""The commands that change nothing."""

from __future__ import annotations

__all__ = ["READING"]

READING = frozenset(
    {
        "backup-list",
        "clues",
        "inspect",
        "lock-show",
        "preflight",
        "state",
        "uninstall-list",
        "verify",
    }
)
