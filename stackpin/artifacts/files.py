"""Artifacts that are on this machine already: a file, an archive, or a directory."""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stackpin.artifacts.cache import Cache
from stackpin.artifacts.model import Output, Resolved, Say, measure, sha256_of
from stackpin.artifacts.outputs import is_plain, listed
from stackpin.artifacts.unpacking import is_archive, unpack
from stackpin.config.sources import FileSource
from stackpin.errors import Refused

__all__ = ["SUMS", "listing_sha256", "local", "read_sums", "sum_of"]

SUMS = "SHA256SUMS"
_LINE = re.compile(r"(?P<sha256>[0-9a-fA-F]{64}) [ *](?P<name>.+)")


def local(source: FileSource, root: Path, cache: Cache, say: Say) -> Resolved:
    """Return the file or directory at `source.path`, compared with the digest declared for it.

    `root` is the repository. Raises Refused with the remedy.
    """
    path = (root / Path(source.path).expanduser()).absolute()
    sha256 = source.sha256 if isinstance(source.sha256, str) else None
    provenance = {"kind": "file", "path": source.path}
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise Refused(
            f"{source.path}: found nothing ({(error.strerror or str(error)).lower()}), expected "
            "the artifact. Build or copy it there, or correct the path."
        ) from None
    if stat.S_ISDIR(mode):
        return Resolved(path, _directory(path, source.path, sha256), provenance)
    if not stat.S_ISREG(mode) or path.stat().st_size == 0:
        raise Refused(f"{source.path}: found no file with content, expected one. Copy it anew.")
    expected, told = (sha256, "sha256") if sha256 else sum_of(path, source.path)
    found = sha256_of(path)
    if found != expected:
        raise Refused(
            f"{source.path}: found SHA-256 {found}, expected {expected} from {told}. Fetch the "
            "published file again; change the digest only if you trust this one."
        )
    if not is_archive(path.name):
        output = Output(path, found, path.stat().st_size)
        return Resolved(path, {path.name: output}, provenance)

    def make(files: Path, _work: Path) -> dict[str, Any]:
        unpack(path, files, source.path)
        return {"kind": "file", "path": source.path, "sha256": found}

    inputs = {"kind": "file", "sha256": found, "name": path.name}
    return cache.keep(inputs, make, source.path, say)


def listing_sha256(outputs: Mapping[str, Output]) -> str:
    """Return one digest for a directory: of its files' lines as sha256sum prints them, sorted.

    (cd DIRECTORY && find . -type f ! -path ./SHA256SUMS -print0 | LC_ALL=C sort -z |
    xargs -0 sha256sum | sha256sum) prints the same.
    """
    lines = {f"./{name}".encode(): one.sha256 for name, one in outputs.items()}
    text = b"".join(lines[name].encode() + b"  " + name + b"\n" for name in sorted(lines))
    return hashlib.sha256(text).hexdigest()


def read_sums(sums: Path) -> dict[str, set[str]]:
    """Return the digests a SHA256SUMS file has for each name. Raises OSError, UnicodeDecodeError.

    Lines of another form are left out, as sha256sum does.
    """
    found: dict[str, set[str]] = {}
    for match in map(_LINE.fullmatch, sums.read_text(encoding="utf-8").splitlines()):
        if match:
            name = match["name"].removeprefix("./")
            found.setdefault(name, set()).add(match["sha256"].lower())
    return found


def sum_of(path: Path, what: str) -> tuple[str, str]:
    """Return the digest SHA256SUMS beside `path` has for it, and that file's path."""
    sums = path.with_name(SUMS)
    remedy = f"Run: (cd {path.parent} && sha256sum {path.name} >> {SUMS})"
    try:
        digests = read_sums(sums).get(path.name, set())
    except (OSError, UnicodeDecodeError):
        raise Refused(
            f"{what}: found neither a declared sha256 nor a readable {sums}, expected one of "
            f"them to say which file is meant. {remedy}"
        ) from None
    if len(digests) != 1:
        count = "no line" if not digests else f"{len(digests)} different digests"
        fix = remedy if not digests else "Keep the line of the file that was published."
        raise Refused(f"{what}: found {count} for {path.name} in {sums}, expected one. {fix}")
    return next(iter(digests)), str(sums)


def _directory(path: Path, what: str, sha256: str | None) -> dict[str, Output]:
    """Measure a directory: every file in it must be one that was meant."""
    odd = [name for name, special in listed(path).items() if special or not is_plain(name)]
    if odd:
        raise Refused(f"{what}: found {odd[0]!r}, a link or device, expected plain files only.")
    outputs = measure(path)
    sums = outputs.pop(SUMS, None)
    if not outputs:
        raise Refused(f"{what}: found an empty directory, expected files. Build or copy them anew.")
    if sha256:
        found = listing_sha256(outputs)
        if found != sha256:
            raise Refused(
                f"{what}: found SHA-256 {found} of its sorted listing, expected {sha256}. "
                "Take the published files again; change the digest only if you trust these."
            )
        return outputs
    remedy = f"Run: (cd {path} && find . -type f ! -name {SUMS} -exec sha256sum {{}} + > {SUMS})"
    try:
        digests = read_sums(path / SUMS) if sums else None
    except (OSError, UnicodeDecodeError):
        digests = None
    if digests is None:
        raise Refused(
            f"{what}: found neither a declared sha256 nor a readable {SUMS} in it, expected one of "
            f"them to say which files are meant. {remedy}"
        )
    wrong = [n for n, one in outputs.items() if digests.get(n, set()) != {one.sha256}]
    missing = sorted(set(digests) - set(outputs))
    if wrong or missing:
        shown = ", ".join([*wrong, *missing][:5])
        raise Refused(
            f"{what}: found other files than {SUMS} in it lists ({shown}), expected exactly those. "
            f"Take the published files again. If you made these: {remedy}"
        )
    return outputs
