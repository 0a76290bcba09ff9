"""What resolving a source gives: files with their digests, and where they came from."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Output", "Resolved", "Say", "measure", "quiet", "sha256_of"]

Say = Callable[[str], None]  # takes a progress line


def quiet(_text: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Output:
    """One file of an artifact: where it is, its SHA-256 in hexadecimal, its size in bytes."""

    path: Path
    sha256: str
    size: int


@dataclass(frozen=True)
class Resolved:
    """An artifact on this machine. `outputs` maps a path relative to `path` to its file.

    `path` is a directory, or the one file, whose output is then called by its name. `provenance`
    is JSON: `kind`, and as far as they apply `path`, `url`, `repo`, `ref`, `commit`, `submodules`,
    `build`, `env` (names only), `mirrors`, `build_host`, `architecture`, `builder` (versions of
    tools), `image`, `inputs_digest`, `built_at` (UTC). `cached` says that nothing had to be made.
    """

    path: Path
    outputs: Mapping[str, Output]
    provenance: Mapping[str, Any]
    cached: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return provenance and outputs, without paths of this machine."""
        outputs = {
            name: {"sha256": one.sha256, "size": one.size} for name, one in self.outputs.items()
        }
        return {**self.provenance, "outputs": outputs}


def measure(folder: Path) -> dict[str, Output]:
    """Return every regular file below `folder` by relative path, sorted. Links are not followed.

    Raises OSError.
    """
    found = {}
    for parent, _folders, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if path.is_file() and not path.is_symlink():
                relative = path.relative_to(folder).as_posix()
                found[relative] = Output(path, sha256_of(path), path.stat().st_size)
    return dict(sorted(found.items()))


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content; a file that was not touched is read once."""
    status = path.stat()
    return _sha256(path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@functools.lru_cache(maxsize=4096)
def _sha256(path: Path, *_identity: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
