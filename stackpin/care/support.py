"""The bundle for support: what hosts answered and what it means, without secrets, in one file."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import secrets
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stackpin.care.doctor import Examination
from stackpin.errors import Refused
from stackpin.redact import MASK, redact, redact_value

__all__ = ["require_new", "write"]

FOLDER = "stackpin-doctor"
# A second sieve behind the known values: what is merely named like a secret does not travel either.
_NAMED = r"[\w-]*(?:token|password|passwd|secret|credential|private|api_?key|authorization)[\w-]*"
_KEY = re.compile(rf"{_NAMED}\Z", re.IGNORECASE)
_TEXT = re.compile(
    rf"""({_NAMED}\\?["']?\s*[=:]\s*\\?["']?(?:(?:bearer|basic)\s+)?)([^\s"'\\,;&]+)""",
    re.IGNORECASE,
)
_BEARER = re.compile(r"(\b(?:bearer|basic)\s+)([\w.~+/=-]{8,})", re.IGNORECASE)


def require_new(path: Path) -> None:
    """Refuse a bundle that is there already, or whose directory is not."""
    if path.exists():
        raise Refused(f"--bundle {path}: found a file, expected none; choose another name")
    if not path.parent.is_dir():
        raise Refused(f"--bundle {path}: {path.parent} is no directory; make it first")


def write(path: Path, about: Mapping[str, Any], found: Examination) -> None:
    """Write the bundle, a .tar.gz of mode 0600 that appears whole or not at all.

    `about` goes into its manifest, beside name, size and sha256 of every file. Known secrets are
    replaced in all forms, and so is whatever stands behind a name like token or password.
    """
    require_new(path)
    files = {name: text.encode() for name, text in _files(found)}
    listed = [
        {"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in sorted(files.items())
    ]
    manifest = {
        "version": 1,
        **about,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "stackpin": version("stackpin"),
        "python": sys.version.split()[0],
        "files": listed,
    }
    body = _tar({"manifest.json": _json(manifest).encode(), **files})
    staged = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(body)
            stream.flush()
            os.fsync(stream.fileno())
        os.link(staged, path)  # never replaces what somebody else wrote meanwhile
    except FileExistsError:
        require_new(path)
        raise
    finally:
        staged.unlink(missing_ok=True)


def _files(found: Examination) -> Iterator[tuple[str, str]]:
    """Yield name and text: what it means, then every answer, the logs as plain text."""
    problems = [problem.as_json() for problem in found.problems]
    yield "problems.json", _json({"problems": problems, "unreachable": found.away})
    for host, parts in found.hosts.items():
        for part, told in parts.items():
            base = f"hosts/{re.sub(r'[^A-Za-z0-9._-]', '_', host)}/{part}"
            for name, answer in told.items():
                clear = {key: value for key, value in answer.items() if key != "logs"}
                yield f"{base}/{name}.json", _json(clear)
                for slot, lines in (answer.get("logs") or {}).items():
                    yield f"{base}/log-{slot}.txt", _scrub("".join(f"{line}\n" for line in lines))


def _json(value: object) -> str:
    plain = json.loads(json.dumps(value, default=str))
    return json.dumps(_sieve(redact_value(plain)), indent=1, sort_keys=True) + "\n"


def _sieve(value: Any) -> Any:  # noqa: ANN401 -- any JSON value
    if isinstance(value, str):
        return _scrub(value)
    if isinstance(value, list):
        return [_sieve(entry) for entry in value]
    if isinstance(value, dict):
        return {
            key: MASK if _KEY.match(key) and isinstance(entry, str) else _sieve(entry)
            for key, entry in value.items()
        }
    return value


def _scrub(text: str) -> str:
    named = _TEXT.sub(rf"\1{MASK}", redact(text))
    return _BEARER.sub(rf"\1{MASK}", named)


def _tar(files: Mapping[str, bytes]) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"{FOLDER}/{name}")
            entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(data))
    return held.getvalue()
