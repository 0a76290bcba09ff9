"""Figures in words, and which tone of colour an outcome has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["TONES", "duration", "size", "use"]

# ok, warn, bad or plain; every tone is also said in words wherever it is shown.
TONES = {
    "serving": "ok",
    "changed": "ok",
    "in-sync": "ok",
    "rolled-back": "warn",
    "unreachable": "warn",
    "skipped": "plain",
    "pending": "plain",
    "failed": "bad",
    "unknown": "bad",
}


def duration(seconds: float) -> str:
    """Return "0.4 s", "12 s" or "2 min 05 s"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02} s"


def size(count: float) -> str:
    """Return bytes as "712 B", "88.5 KiB" or "1.2 GiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"


def use(found: Mapping[str, Any] | None) -> str:
    """Return {total, used} in MiB as "412 of 1,987 MiB (21 %)"; empty for None or nothing there."""
    if not found or not found["total"]:
        return ""
    used, total = found["used"], found["total"]
    return f"{used:,} of {total:,} MiB ({100 * used / total:.0f} %)"
