"""Where downloads and builds are kept, named by what they were made from.

Below ~/.cache/stackpin/artifacts (0700; $XDG_CACHE_HOME where that is set): `entries/<digest>/`
with files/ and manifest.json, complete or not there; `entries/.<digest>-*/` in the making, left by
a killed run and removed by the next; `mirrors/`, `tags/`, `logs/`, `locks/`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stackpin.artifacts.model import Output, Resolved, Say, measure, quiet
from stackpin.errors import Refused

__all__ = ["Cache", "digest_of", "remove"]

DAY = 86400.0
DIGITS = 64  # of a digest
Make = Callable[[Path, Path], Mapping[str, Any]]


def digest_of(inputs: Mapping[str, Any]) -> str:
    """Return the SHA-256 of JSON values, whatever their order."""
    text = json.dumps(inputs, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def remove(folder: Path) -> None:
    """Remove a tree, read-only directories (Go's module cache) included; absent is fine."""
    if not folder.exists():
        return
    for parent, names, _files in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(folder)


class Cache:
    """The cache below `root`, made when first used. Safe to share between processes."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or _default()

    def folder(self, name: str) -> Path:
        """Return a directory of the cache, made if need be. Raises Refused where it cannot be."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.root.stat().st_mode & 0o077:
                self.root.chmod(0o700)  # it may have been made by hand
            path = self.root / name
            path.mkdir(exist_ok=True)
        except OSError as error:
            raise Refused(
                f"{self.root}: the cache of artifacts cannot be used: {error.strerror or error}. "
                "Make it writable, or set XDG_CACHE_HOME to another place."
            ) from None
        return path

    @contextmanager
    def lock(self, name: str, what: str, say: Say = quiet) -> Iterator[None]:
        """Hold the lock `name`; say so where somebody else holds it, and wait.

        The kernel gives it back when its holder dies.
        """
        from filelock import FileLock, Timeout  # noqa: PLC0415 - brings asyncio; files need none

        lock = FileLock(self.folder("locks") / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"waiting for another run that makes {what}")
            # Not for ever: to the library, two of a process waiting for ever look like a deadlock.
            lock.acquire(timeout=DAY)
        try:
            yield
        finally:
            lock.release()

    def keep(self, inputs: Mapping[str, Any], make: Make, what: str, say: Say = quiet) -> Resolved:
        """Return what was made from `inputs` before, or let `make(files, work)` make it now.

        `make` puts the outputs into `files`, may use `work` as it likes, and returns provenance.
        Its errors pass through and leave nothing behind.
        """
        digest = digest_of(inputs)
        entry = self.folder("entries") / digest
        making = f".{digest[:16]}-"  # short: sockets in TMPDIR allow a path of 107 characters
        if found := self._find(entry, say):
            return found
        with self.lock(digest, what, say):
            if found := self._find(entry, say):
                return found
            for left in entry.parent.glob(f"{making}*"):
                remove(left)
            staging = Path(tempfile.mkdtemp(prefix=making, dir=entry.parent))
            try:
                (staging / "files").mkdir()
                (staging / "work").mkdir()
                provenance = {
                    **make(staging / "files", staging / "work"),
                    "inputs_digest": digest,
                    "built_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
                }
                remove(staging / "work")
                _write_manifest(staging, provenance)
                remove(entry)  # a damaged one
                staging.rename(entry)
            finally:
                remove(staging)
        found = self._find(entry, say)
        assert found is not None  # noqa: S101 - it was written above
        return replace(found, cached=False)

    def entries(self) -> list[Resolved]:
        """Return every complete entry, the one used last first."""
        folders = [one for one in self.folder("entries").iterdir() if one.name[0] != "."]
        folders.sort(key=lambda one: one.stat().st_mtime, reverse=True)
        read = (_read(one) for one in folders)
        return [one for one in read if one]

    def prune(self, days: float) -> list[str]:
        """Remove entries, mirrors and logs not used for `days`; return their names."""
        from filelock import FileLock, Timeout  # noqa: PLC0415

        gone = []
        for kind in ("entries", "mirrors", "logs"):
            for path in self.folder(kind).iterdir():
                if time.time() - path.stat().st_mtime < days * DAY:
                    continue
                lock = FileLock(self.folder("locks") / f"{_lock_name(path)}.lock")
                try:
                    with lock.acquire(timeout=0):
                        remove(path) if path.is_dir() else path.unlink()
                except Timeout:
                    continue  # in use
                gone.append(f"{kind}/{path.name}")
        return sorted(gone)

    def _find(self, entry: Path, say: Say) -> Resolved | None:
        found = _read(entry)
        if found is None:
            return None
        if found.outputs != measure(found.path):
            say(f"{entry}: its files were changed since they were made: making them anew")
            return None
        os.utime(entry)  # `prune` goes by it
        return found


def _default() -> Path:
    base = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(base) if base.startswith("/") else Path.home() / ".cache"
    return home / "stackpin" / "artifacts"


def _lock_name(path: Path) -> str:
    return path.name.removeprefix(".")[:DIGITS].removesuffix(".log")


def _write_manifest(staging: Path, provenance: Mapping[str, Any]) -> None:
    outputs = measure(staging / "files")
    document = {
        "version": 1,
        "provenance": provenance,
        "outputs": {name: [one.sha256, one.size] for name, one in outputs.items()},
    }
    (staging / "manifest.json").write_text(json.dumps(document, indent=1), encoding="utf-8")


def _read(entry: Path) -> Resolved | None:
    try:
        document = json.loads((entry / "manifest.json").read_text(encoding="utf-8"))
        outputs = {
            name: Output(entry / "files" / name, sha256, size)
            for name, (sha256, size) in document["outputs"].items()
        }
        return Resolved(entry / "files", outputs, document["provenance"], cached=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # not there, or damaged: the same to whoever wants it
