"""Git: which commit a reference names, its objects in the cache, and a clean work tree of it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

from stackpin.artifacts.cache import Cache
from stackpin.artifacts.model import Say
from stackpin.config.sources import is_commit
from stackpin.errors import Refused

__all__ = ["Repository", "Tree"]

ASK_SECONDS = 60.0
FETCH_SECONDS = 1800.0
REMEMBERED = 300.0  # seconds a process takes the answer to "which commit" for true
_KEPT = ("GIT_SSH", "GIT_SSH_COMMAND", "GIT_ASKPASS")
_SLOW = ["-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60"]

_asked: dict[tuple[str, str], tuple[str, float]] = {}


@dataclass(frozen=True)
class Tree:
    """A work tree: commit time in seconds since 1970, submodules as path -> commit."""

    path: Path
    time: int
    submodules: dict[str, str]


class Repository:
    """The repository at `address` (as git takes it; a path is relative to `root`)."""

    def __init__(self, address: str, root: Path, cache: Cache, say: Say) -> None:
        self.address, self._cache, self._say = address, cache, say
        head = address.split("/", 1)[0]
        self._local = address.startswith("file://") or ("://" not in address and ":" not in head)
        if self._local and "://" not in address:
            # As a URL, so that git copies through its protocol and follows no links of theirs.
            self._url = "file://" + quote(str((root / Path(address).expanduser()).resolve()))
        else:
            self._url = address
        self.id = hashlib.sha256(self._url.encode()).hexdigest()[:32]

    def commit(self, ref: str) -> str:
        """Return the commit `ref` names now: a commit itself, a tag (peeled), or a branch.

        A tag that named another commit before is refused. When the repository cannot be asked, a
        tag names what it named before. Raises Refused.
        """
        if is_commit(ref):
            return ref
        before = _asked.get((self._url, ref))
        if before and time.monotonic() - before[1] < REMEMBERED:
            return before[0]
        known = self._known()
        try:
            commit, tag = self._ask(ref)
        except _Unreachable as error:
            if ref not in known:
                raise Refused(str(error)) from None
            commit = known[ref]["commit"]
            self._say(f"{error} Going on with {commit}, which tag {ref} named before.")
            return commit
        if tag:
            self._compare(ref, commit, known)
        _asked[self._url, ref] = commit, time.monotonic()
        return commit

    def fetch(self, commit: str) -> Path:
        """Return the bare clone that has `commit`; only what is missing is fetched.

        Raises Refused.
        """
        mirror = self._cache.folder("mirrors") / self.id
        with self._cache.lock(self.id, f"the clone of {self.address}", self._say):
            if not (mirror / "HEAD").exists():
                _git("init", "--quiet", "--bare", "--template=", str(mirror))
            os.utime(mirror)  # `prune` goes by it
            if self._has(mirror, commit):
                return mirror
            self._say(f"fetching {self.address}")
            heads_and_tags = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
            for wanted in (heads_and_tags, (commit,)):
                try:
                    self._remote(mirror, "fetch", "--quiet", "--no-tags", self._url, *wanted)
                except subprocess.CalledProcessError as error:
                    if wanted is heads_and_tags:
                        raise Refused(self._told(error)) from None
                if self._has(mirror, commit):
                    return mirror
        raise Refused(
            f"{self.address}: found no commit {commit}, expected it on a branch or under a tag. "
            "Push it, or correct ref."
        )

    def check_out(self, commit: str, into: Path, *, submodules: bool) -> Tree:
        """Make a clean work tree of `commit` in `into`, complete with .git and submodules.

        Hooks, templates and settings of whoever runs this have no part in it. Raises Refused.
        """
        mirror = self.fetch(commit)
        try:
            _git("clone", "--quiet", "--no-checkout", "--template=", str(mirror), str(into))
            _git("-C", str(into), "remote", "set-url", "origin", self._url)
            _git("-C", str(into), "checkout", "--quiet", "--detach", commit)
            submodules = submodules and (into / ".gitmodules").exists()
            if submodules:
                self._say(f"submodules of {self.address}")
                self._remote(into, "submodule", "--quiet", "update", "--init", "--recursive")
        except subprocess.CalledProcessError as error:
            raise Refused(self._told(error)) from None
        status = _git("-C", str(into), "submodule", "status", "--recursive") if submodules else ""
        lines = [line[1:].split() for line in status.splitlines()]
        stamp = int(_git("-C", str(into), "show", "-s", "--format=%ct", commit))
        return Tree(into, stamp, {words[1]: words[0] for words in lines})

    def _ask(self, ref: str) -> tuple[str, bool]:
        """Return the commit of `ref` and whether it is a tag's."""
        names = [ref] if ref.startswith("refs/") else [f"refs/tags/{ref}", f"refs/heads/{ref}"]
        patterns = [pattern for name in names for pattern in (name, name + "^{}")]
        try:
            told = self._remote(None, "ls-remote", "--", self._url, *patterns, limit=ASK_SECONDS)
        except subprocess.CalledProcessError as error:
            raise _Unreachable(self._told(error)) from None
        lines = (line.split("\t", 1) for line in told.splitlines())
        found = {name: commit for commit, name in lines}
        for name in names:
            # The second is what an annotated tag points to.
            commit = found.get(name + "^{}") or found.get(name)
            if commit:
                return commit, name.startswith("refs/tags/")
        raise Refused(
            f"{self.address}: found no tag or branch {ref}, expected one, or a commit in full. "
            "Push the tag, or correct ref."
        )

    def _known(self) -> dict[str, dict[str, str]]:
        try:
            document = json.loads((self._cache.folder("tags") / f"{self.id}.json").read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError:
            path = self._cache.folder("tags") / f"{self.id}.json"
            raise Refused(f"{path}: found damage, expected JSON. Remove the file.") from None
        return dict(document)

    def _compare(self, tag: str, commit: str, known: dict[str, dict[str, str]]) -> None:
        """Refuse a tag that moved; note one seen for the first time."""
        path = self._cache.folder("tags") / f"{self.id}.json"
        if tag in known:
            if known[tag]["commit"] == commit:
                return
            raise Refused(
                f"{self.address}: found tag {tag} at {commit}, expected {known[tag]['commit']}, "
                f"which it named on {known[tag]['seen']}: it was moved. Publish a new "
                "version, or write the commit in full as ref. If the move is meant, take the tag "
                f"out of {path}."
            )
        with self._cache.lock(f"tags-{self.id}", "notes of tags"):
            entry = {"commit": commit, "seen": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
            text = json.dumps({**self._known(), tag: entry}, indent=1)
            with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
                file.write(text)
            Path(file.name).replace(path)

    def _has(self, mirror: Path, commit: str) -> bool:
        try:
            _git("-C", str(mirror), "cat-file", "-e", commit + "^{commit}")
        except subprocess.CalledProcessError:
            return False
        return True

    def _remote(self, folder: Path | None, *words: str, limit: float = FETCH_SECONDS) -> str:
        """Run a git command that asks the repository, with the settings of whoever runs this.

        Only encrypted transports, and paths of this machine where the repository is one: a
        submodule of somebody else's must not reach for what lies here.
        """
        place = ["-C", str(folder)] if folder else []
        plain = ["-c", "core.hooksPath=/dev/null", "-c", "core.autocrlf=false", *_SLOW]
        allowed = "https:ssh:file" if self._local else "https:ssh"
        return _git(*place, *plain, *words, allowed=allowed, own=True, limit=limit)

    def _told(self, error: subprocess.CalledProcessError) -> str:
        said = " ".join(str(error.stderr or "").split())[-400:]
        return f"{self.address}: git {_verb(error.cmd)} failed: {said or 'no message'}."


class _Unreachable(Exception):  # noqa: N818 - what it tells of the repository
    """The repository did not answer."""


def _verb(argv: object) -> str:
    words = [str(word) for word in argv] if isinstance(argv, list) else []
    known = {"ls-remote", "fetch", "submodule", "clone", "checkout", "remote", "init", "show"}
    return next((word for word in words if word in known), "")


def _git(*words: str, allowed: str = "file", own: bool = False, limit: float = 600.0) -> str:
    """Run git and return what it printed; `own` heeds the user's configuration.

    Raises subprocess.CalledProcessError, also for a git that took too long, and Refused where
    there is no git.
    """
    env = {name: v for name, v in os.environ.items() if name[:4] != "GIT_" or name in _KEPT}
    env |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": allowed}
    if not own:
        env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    argv = ["git", *words]
    try:
        done = subprocess.run(
            argv,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit,
            check=True,
        )
    except FileNotFoundError:
        _no_git()
    except subprocess.TimeoutExpired:
        told = f"no end after {limit:.0f} s"
        raise subprocess.CalledProcessError(124, argv, stderr=told) from None
    return done.stdout


def _no_git() -> NoReturn:
    raise Refused("git: found no such program here, expected it for sources git(...). Install it.")


def git_version() -> str:
    """Return the version of git here, such as "2.39.5"."""
    match = re.search(r"\d+(\.\d+)+", _git("version"))
    return match[0] if match else ""
