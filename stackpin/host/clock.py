"""Time as the host program needs it: for people, and for deadlines no clock change can move."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path

__all__ = ["boot_id", "now_text", "running_seconds"]


def now_text() -> str:
    """Return the UTC time in ISO 8601, to the millisecond."""
    now = datetime.now(timezone.utc)  # noqa: UP017 (Python 3.10 has no datetime.UTC)
    return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def running_seconds() -> float:
    """Return the seconds since the machine started, sleep included: it never jumps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """Return what tells one start of this host from the next."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"
