"""Asking for room before something as large as a database is copied."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from stackpin.host.errors import refused

__all__ = ["RESERVE", "database_bytes", "require"]

MIB = 1024 * 1024
RESERVE = 64 * MIB  # stays free: the live service and the way back write to the same disk


def database_bytes(database: Path) -> int:
    """Return what a database occupies with its write-ahead log; 0 when it is absent."""
    total = 0
    for path in (database, database.with_name(database.name + "-wal")):
        with contextlib.suppress(OSError):
            total += path.lstat().st_size
    return total


def require(folder: Path, need: int, purpose: str) -> None:
    """Refuse when the file system of `folder` has no room for `need` bytes and the reserve."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    found = os.statvfs(there)
    free = found.f_bavail * found.f_frsize
    if free < need + RESERVE:
        raise refused(
            f"{folder}: {free // MIB} MiB free, {-(-(need + RESERVE) // MIB)} MiB needed for "
            f"{purpose} ({RESERVE // MIB} MiB of them stay free); make room, nothing was copied",
            free=free,
            need=need + RESERVE,
        )
