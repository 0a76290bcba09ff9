"""The commands that may be called together: those that change nothing, and those of leases."""

from __future__ import annotations

__all__ = ["LEASES", "READING"]

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
LEASES = frozenset({"lock-acquire", "lock-release", "lock-renew"})
