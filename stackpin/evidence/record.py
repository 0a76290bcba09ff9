"""Write the evidence of one deployment as a directory that appears whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stackpin.redact import redact, redact_value

__all__ = ["MANIFEST", "MANIFEST_SUM", "Record", "directory_name", "write"]

MANIFEST = "manifest.json"
MANIFEST_SUM = "manifest.sha256"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")


@dataclass(frozen=True)
class Record:
    """One finished run, as values.

    `hosts` maps a host name to ``{"release": id or None, "outcome": word}``; `documents` maps a
    file name such as ``01-artifact.json`` to any JSON value, `texts` one such as ``report.html`` to
    its content; `created` is an aware datetime.
    """

    inventory: str
    stack: str
    version: str
    run: str
    outcome: str
    who: str
    created: datetime
    git_head: str | None = None
    command: str = "deploy"
    exit_code: int = 0
    reason: str = ""
    hosts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    documents: Mapping[str, Any] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


def directory_name(record: Record) -> str:
    """Return ``20261121T224500Z-v1.1.0``: sorts by time, safe in every file system."""
    return f"{record.created.astimezone(UTC):%Y%m%dT%H%M%SZ}-{record.version}"


def write(root: Path, record: Record) -> Path:
    """Write `record` to ``root/<inventory>/<stack>/<time>-<version>/``; return that path.

    Directories are 0700, files 0600, every text goes through the redactor. Everything is written
    and synced in a hidden directory first and renamed last, so a killed tool leaves no half record.
    Two records of the same second get ``-2``, ``-3``. Raises ValueError for a document or path name
    that is not a plain file name, OSError when the disk refuses.
    """
    for name in (record.inventory, record.stack, record.version, *record.documents, *record.texts):
        if not _NAME.match(name):
            raise ValueError(
                f"evidence: {name!r} is not a plain file name (letters, digits, . _ -)"
            )
    if taken := {MANIFEST, MANIFEST_SUM} & {*record.documents, *record.texts}:
        raise ValueError(f"evidence: {sorted(taken)} are written by stackpin itself")
    parent = root / record.inventory / record.stack
    for folder in (root, root / record.inventory, parent):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    staging = parent / f".new-{secrets.token_hex(6)}"
    staging.mkdir(mode=0o700)
    try:
        _fill(staging, record)
        return _publish(staging, parent / directory_name(record))
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _fill(folder: Path, record: Record) -> None:
    files = []
    contents = {name: _dump(value) for name, value in record.documents.items()}
    contents |= {name: redact(text).encode() for name, text in record.texts.items()}
    for name, data in sorted(contents.items()):
        _write_file(folder / name, data)
        files.append({"name": name, "sha256": _sha256(data), "size": len(data)})
    manifest = _dump(
        {
            "version": 1,
            "inventory": record.inventory,
            "stack": record.stack,
            "release_version": record.version,
            "run": record.run,
            "command": record.command,
            "outcome": record.outcome,
            "exit_code": record.exit_code,
            "reason": record.reason,
            "who": record.who,
            "created": record.created.astimezone(UTC).isoformat(timespec="seconds"),
            "git_head": record.git_head,
            "hosts": record.hosts,
            "files": files,
        }
    )
    _write_file(folder / MANIFEST, manifest)
    # The format of sha256sum: `sha256sum -c manifest.sha256` proves it without stackpin.
    _write_file(folder / MANIFEST_SUM, f"{_sha256(manifest)}  {MANIFEST}\n".encode())
    _sync(folder)


def _publish(staging: Path, wanted: Path) -> Path:
    """Rename `staging` to `wanted`, or to the next free ``-N``; never replace a record."""
    for number in range(1, 1000):
        target = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            # mkdir claims the name against a second tool; rename replaces only an empty directory.
            target.mkdir(mode=0o700)
        except FileExistsError:
            continue
        staging.rename(target)
        _sync(target.parent)
        return target
    raise FileExistsError(f"evidence: {wanted} and its next 999 names exist")


def _dump(value: Any) -> bytes:  # noqa: ANN401 -- any JSON value
    # Redacted leaf by leaf, after everything became plain JSON and before it is encoded.
    plain = redact_value(json.loads(json.dumps(value, default=_plain)))
    return (json.dumps(plain, indent=2, sort_keys=True) + "\n").encode()


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _write_file(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
