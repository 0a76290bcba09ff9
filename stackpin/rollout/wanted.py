"""Which version a command means: given, the newest in the registry, of a Git repository, a file."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cmp_to_key
from pathlib import Path

from stackpin.config.types import compare_tags, is_prerelease, is_release_tag, release_tag
from stackpin.errors import Refused

__all__ = ["Wanted", "git_newest"]

_GIT_SECONDS = 60
_FILE_MAX = 4096


@dataclass(frozen=True)
class Wanted:
    """What the user gave: exactly one of the four ways to name a version."""

    version: str | None = None
    latest: bool = False
    from_git: str | None = None
    from_version_file: str | None = None

    def resolve(self, newest: Callable[[], str]) -> str:
        """Return the release tag; `newest` asks the registry. Raises Refused."""
        given = {
            "--version": self.version,
            "--latest": self.latest or None,
            "--from-git": self.from_git,
            "--from-version-file": self.from_version_file,
        }
        chosen = [name for name, value in given.items() if value is not None]
        if len(chosen) != 1:
            told = " and ".join(chosen) or "none of them"
            raise Refused(f"found {told}, expected exactly one of {', '.join(given)}")
        if self.version is not None:
            return _judged("--version", self.version)
        if self.from_git is not None:
            return git_newest(self.from_git)
        if self.from_version_file is not None:
            return _judged("--from-version-file", _content(Path(self.from_version_file)))
        return newest()


def git_newest(repository: str) -> str:
    """Return the highest final release tag of a Git repository, a URL or a path. Raises Refused.

    Only tags are listed, nothing is fetched; Git never asks for a password.
    """
    shown = re.sub(r"//[^/@]*@", "//***@", repository)
    where = f"--from-git {shown}"
    # No prompt may hang a pipeline; ssh must not ask either.
    environment = {"GIT_SSH_COMMAND": "ssh -o BatchMode=yes", **os.environ}
    environment["GIT_TERMINAL_PROMPT"] = "0"
    try:
        done = subprocess.run(
            ["git", "ls-remote", "--tags", "--refs", "--", repository],
            capture_output=True,
            timeout=_GIT_SECONDS,
            stdin=subprocess.DEVNULL,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Refused(f"{where}: no answer within {_GIT_SECONDS} s. Try: git ls-remote") from None
    except (OSError, ValueError) as error:
        raise Refused(f"{where}: git cannot be run: {error}") from None
    if done.returncode != 0:
        said = " ".join(done.stderr.decode("utf-8", "replace").split())[-300:]
        said = said.replace(repository, shown)
        raise Refused(f"{where}: git exit {done.returncode}: {said}. Correct the address.")
    refs = [line.partition("\t")[2] for line in done.stdout.decode("utf-8", "replace").splitlines()]
    tags = [ref.removeprefix("refs/tags/") for ref in refs if ref.startswith("refs/tags/")]
    finals = [tag for tag in tags if is_release_tag(tag) and not is_prerelease(tag)]
    if not finals:
        raise Refused(f"{where}: found {len(tags)} tags, expected one vX.Y.Z. Tag a release there.")
    return max(finals, key=cmp_to_key(compare_tags))


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_FILE_MAX)
    except OSError as error:
        raise Refused(
            f"--from-version-file {path}: {error.strerror or error}; expected a file that says "
            "only vX.Y.Z"
        ) from None
    return data.decode("utf-8", "replace").strip()


def _judged(option: str, version: str) -> str:
    try:
        return release_tag(version)
    except ValueError as error:  # pydantic's custom error is one
        raise Refused(f"{option}: found {version[:80]!r}, expected {error}") from None
