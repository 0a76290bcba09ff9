"""Writing to disk so that a power cut leaves the old content or the new one, nothing between."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

__all__ = [
    "atomic_write",
    "copy_new",
    "make_dir",
    "read_json",
    "remove_file",
    "replace_link",
    "sha256",
    "sync_dir",
    "write_json",
]


def sync_dir(path: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_dir(path: Path, mode: int = 0o755) -> None:
    """Make a directory and its missing parents; `mode` is enforced on the last one."""
    if not path.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(mode)
        sync_dir(path.parent)
    elif path.stat().st_mode & 0o7777 != mode:
        path.chmod(mode)


def atomic_write(
    path: Path, data: bytes, mode: int = 0o600, owner: tuple[int, int] | None = None
) -> None:
    """Replace the content of `path`; owner is (uid, gid), by default the caller's.

    The temporary file is born 0600 and gets its owner before its mode, so that a secret is never
    readable by anybody it is not meant for.
    """
    temporary = _beside(path)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_dir(path.parent)


def copy_new(source: Path, target: Path, mode: int, owner: tuple[int, int]) -> None:
    """Copy a file to a name that is made anew, durably; for directories others may write in.

    Whatever has the name goes first, and nothing is ever written through a link put there.
    """
    with contextlib.suppress(FileNotFoundError):
        target.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(target, flags, 0o600)
    with os.fdopen(fd, "wb") as new, source.open("rb") as old:
        while chunk := old.read(1 << 20):
            new.write(chunk)
        new.flush()
        os.fchown(new.fileno(), *owner)
        os.fchmod(new.fileno(), mode)
        os.fsync(new.fileno())


def replace_link(path: Path, target: str) -> None:
    """Make `path` a symlink to `target`, in one step."""
    temporary = _beside(path)
    temporary.symlink_to(target)
    try:
        temporary.rename(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_dir(path.parent)


def remove_file(path: Path) -> bool:
    """Remove a file or symlink durably, and its unfinished successor; False when there was none."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        _beside(path)
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    sync_dir(path.parent)
    return True


def write_json(path: Path, value: dict[str, Any], mode: int = 0o600) -> None:
    """Replace `path` by a JSON object."""
    atomic_write(path, (json.dumps(value, ensure_ascii=False) + "\n").encode(), mode)


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None when the file is absent or not one."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _beside(path: Path) -> Path:
    """Name the temporary for `path`: always the same, so that what a killed program left goes."""
    temporary = path.parent / f".{path.name}.stackpin-tmp"
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    return temporary
