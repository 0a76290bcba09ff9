"""Finds the pinned artifact on this machine and proves that it is the one meant."""

from __future__ import annotations

import hashlib
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from stackpin.errors import Refused

_LINE = re.compile(r"(?P<sha256>[0-9a-fA-F]{64}) [ *](?P<name>.+)")


class Pinned(Protocol):
    """Settings that pin an artifact, such as CrmSettings."""

    @property
    def version(self) -> str:
        """The release tag."""

    @property
    def artifact_sha256(self) -> str | None:
        """The digest expected, or None when SHA256SUMS has it."""

    def artifact_path(self) -> str:
        """Path of the artifact, relative to the repository unless absolute."""


@dataclass(frozen=True)
class Artifact:
    """A file on this machine whose SHA-256 has been compared. `size` in bytes."""

    path: Path
    name: str
    version: str
    sha256: str
    size: int

    @property
    def shown(self) -> str:
        """Path as seen from the working directory: where somebody keeps it is of no interest."""
        here = Path.cwd()
        return str(self.path.relative_to(here) if self.path.is_relative_to(here) else self.path)

    @classmethod
    def locate(cls, settings: Pinned, root: Path) -> Self:
        """Find the artifact `settings` pin, below `root`. Raises Refused with the remedy."""
        path = root / settings.artifact_path()
        what = f"artifact of {settings.version}"
        try:
            status = path.stat()
        except OSError as error:
            raise Refused(
                f"{what}: found nothing at {path} ({(error.strerror or str(error)).lower()}), "
                "expected the executable. Build or copy it there, or set crm_artifact."
            ) from None
        if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
            kind = "an empty file" if stat.S_ISREG(status.st_mode) else "no regular file"
            raise Refused(
                f"{what}: found {kind} at {path}, expected the executable. Build or copy it anew."
            )
        expected, source = _expected(settings, path, what)
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != expected:
            raise Refused(
                f"{what}: found SHA-256 {found} of {path}, expected {expected} from {source}. "
                "Fetch the published file again; change the digest only if you trust this one."
            )
        return cls(path.absolute(), path.name, settings.version, found, status.st_size)


def _expected(settings: Pinned, path: Path, what: str) -> tuple[str, str]:
    """Find the digest the artifact must have, and who says so."""
    if settings.artifact_sha256:
        return settings.artifact_sha256, "crm_artifact_sha256"
    sums = path.with_name("SHA256SUMS")
    remedy = f"Run: (cd {path.parent} && sha256sum {path.name} >> SHA256SUMS)"
    try:
        lines = sums.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise Refused(
            f"{what}: found neither crm_artifact_sha256 nor a readable {sums}, expected one of "
            f"them to say which file is meant. {remedy}"
        ) from None
    digests = {
        match["sha256"].lower()
        for match in map(_LINE.fullmatch, lines)
        if match and match["name"].removeprefix("./") == path.name
    }
    if len(digests) != 1:
        count = "no line" if not digests else f"{len(digests)} different digests"
        fix = remedy if not digests else "Keep the line of the file that was published."
        raise Refused(f"{what}: found {count} for {path.name} in {sums}, expected one. {fix}")
    return digests.pop(), str(sums)
