"""Check an evidence directory against its own manifest, with nothing but the files."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path
from typing import Any

from stackpin.evidence.record import MANIFEST, MANIFEST_SUM

__all__ = ["read_manifest", "verify"]


def verify(path: Path) -> list[str]:
    """Return what is wrong with the record at `path`; an empty list means it is as written.

    Found are: a missing, extra, altered or unreadable file, links and folders in the place of
    files, a manifest that differs from ``manifest.sha256`` or cannot be understood. Never raises
    for what it finds on disk. It proves the record is unchanged since it was written, not who
    wrote it: whoever may rewrite every file may also rewrite the sums.
    """
    if not path.is_dir():
        return [f"{path}: no evidence directory here"]
    present = {entry.name: entry for entry in path.iterdir()}
    problems = [
        f"{name}: not a plain file" for name, entry in sorted(present.items()) if not _plain(entry)
    ]
    if MANIFEST not in present:
        return [*problems, f"{MANIFEST}: missing, so nothing here can be checked"]
    problems += _check_manifest_sum(path, present)
    try:
        listed = _listed(read_manifest(path))
    except ValueError as error:
        return [*problems, f"{MANIFEST}: {error}"]
    for name, (sha256, size) in sorted(listed.items()):
        if name not in present:
            problems.append(f"{name}: missing")
        elif _plain(present[name]):
            problems += _check_file(path / name, sha256, size)
    extra = set(present) - set(listed) - {MANIFEST, MANIFEST_SUM}
    problems += [f"{name}: not in the manifest" for name in sorted(extra)]
    return problems


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of the record at `path`; ValueError says why it cannot be read."""
    try:
        manifest = json.loads((path / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot be read: {error}") from error
    if not isinstance(manifest, dict):
        raise ValueError("expected a JSON object")
    if manifest.get("version") != 1:
        raise ValueError(f"manifest version {manifest.get('version')!r}, expected 1")
    return manifest


def _plain(entry: Path) -> bool:
    return stat.S_ISREG(entry.lstat().st_mode)


def _check_manifest_sum(path: Path, present: dict[str, Path]) -> list[str]:
    if MANIFEST_SUM not in present:
        return [f"{MANIFEST_SUM}: missing, so the manifest itself is not proven"]
    try:
        expected = (path / MANIFEST_SUM).read_text("utf-8")
        found = hashlib.sha256((path / MANIFEST).read_bytes()).hexdigest()
    except (OSError, ValueError) as error:
        return [f"{MANIFEST_SUM}: cannot be read: {error}"]
    if expected != f"{found}  {MANIFEST}\n":
        return [f"{MANIFEST}: altered: sha256 is {found}, {MANIFEST_SUM} says {expected[:64]}"]
    return []


def _listed(manifest: dict[str, Any]) -> dict[str, tuple[str, int]]:
    """Return {file name: (sha256, size)}; refuse names that would lead out of the directory."""
    files = manifest.get("files")
    if not isinstance(files, list):
        raise ValueError("has no list of files")
    listed: dict[str, tuple[str, int]] = {}
    for entry in files:
        try:
            name, sha256, size = str(entry["name"]), str(entry["sha256"]), int(entry["size"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"entry {entry!r} is not {{name, sha256, size}}") from error
        if name in {"", ".", ".."} or "/" in name or "\0" in name:
            raise ValueError(f"lists {name!r}, which is not a file name")
        if name in listed:
            raise ValueError(f"lists {name!r} twice")
        listed[name] = (sha256, size)
    return listed


def _check_file(path: Path, sha256: str, size: int) -> list[str]:
    try:
        data = path.read_bytes()
    except OSError as error:
        return [f"{path.name}: cannot be read: {error.strerror}"]
    found = hashlib.sha256(data).hexdigest()
    if found == sha256 and len(data) == size:
        return []
    return [
        f"{path.name}: altered: found {len(data)} bytes, sha256 {found}; "
        f"the manifest says {size} bytes, sha256 {sha256}"
    ]
