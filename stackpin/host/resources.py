"""How busy and how full the machine is: one reading, no program started."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

__all__ = ["machine"]

PROC = Path("/proc")


def machine(data: Path) -> dict[str, Any]:
    """Read {cpus, load: [1, 5, 15 minutes], memory_mb, swap_mb, disk_mb}; sizes in MiB.

    memory_mb, swap_mb and disk_mb (the file system of `data`, or of its nearest existing parent)
    are {total, used}. What cannot be read is None: this must never be why a command fails.
    """
    memory = _memory()
    return {
        "cpus": os.cpu_count(),
        "load": _load(),
        "memory_mb": _use(memory.get("MemTotal"), memory.get("MemAvailable")),
        "swap_mb": _use(memory.get("SwapTotal"), memory.get("SwapFree")),
        "disk_mb": _disk(data),
    }


def _load() -> list[float] | None:
    try:
        return [round(one, 2) for one in os.getloadavg()]
    except OSError:
        return None


def _memory() -> dict[str, int]:
    try:
        text = (PROC / "meminfo").read_text(encoding="ascii")
    except (OSError, ValueError):
        return {}
    found = re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)
    return {name: int(kib) // 1024 for name, kib in found}


def _use(total: int | None, left: int | None) -> dict[str, int] | None:
    return None if total is None or left is None else {"total": total, "used": total - left}


def _disk(path: Path) -> dict[str, int] | None:
    try:
        while not path.exists() and path != path.parent:
            path = path.parent
        found = os.statvfs(path)
    except OSError:
        return None
    # As df counts: what is kept for root is neither used nor left.
    used = (found.f_blocks - found.f_bfree) * found.f_frsize // 2**20
    return {"total": used + found.f_bavail * found.f_frsize // 2**20, "used": used}
