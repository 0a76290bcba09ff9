"""Find the evidence records below a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stackpin.evidence.record import MANIFEST
from stackpin.evidence.verify import read_manifest

__all__ = ["Entry", "entries", "records_at"]


@dataclass(frozen=True)
class Entry:
    """One record: its directory and its manifest, or why the manifest cannot be read."""

    path: Path
    manifest: dict[str, Any]
    problem: str | None = None


def records_at(path: Path) -> list[Path]:
    """Return the records `path` means: itself, or those below it; itself too when there is none."""
    if (path / MANIFEST).exists() or not path.is_dir():
        return [path]
    below = sorted(found.parent for found in path.glob(f"**/{MANIFEST}"))
    return [found for found in below if not found.name.startswith(".")] or [path]


def entries(root: Path, inventory: str | None = None, stack: str | None = None) -> list[Entry]:
    """Return the records below `root`, oldest first; those of `inventory` and `stack` if given.

    A record whose manifest cannot be read is listed with its `problem`, never hidden.
    """
    found = []
    for manifest in root.glob(f"{inventory or '*'}/{stack or '*'}/*/{MANIFEST}"):
        folder = manifest.parent
        if folder.name.startswith("."):  # being written, or left by a killed tool
            continue
        try:
            found.append(Entry(folder, read_manifest(folder)))
        except ValueError as error:
            found.append(Entry(folder, {}, str(error)))
    return sorted(found, key=lambda entry: (entry.path.name, str(entry.path)))
