"""One change at a time in a Git work tree, across threads and processes, all or nothing."""

import contextlib
import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from ...serving.http import HttpError

LOCK_SECONDS = 15.0
GIT_SECONDS = 30.0

# The service has no home and owns no Git settings, and a hook of the repository is not ours to
# run: everything Git needs is said here.
_OPTIONS = {
    "user.name": "CRM control plane",
    "user.email": "crm@localhost",
    "commit.gpgSign": "false",
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
}


class Change:
    """The right to change one folder, handed out by `GitRepository.change`."""

    def __init__(self, repository: "GitRepository", folder: str) -> None:
        self._repository = repository
        self._folder = folder

    def commit(self, message: str) -> str:
        """Commit the folder and return the commit id."""
        self._repository.git("add", "--", self._folder)
        self._repository.git("commit", "--quiet", "-m", message, "--", self._folder)
        return self._repository.head()


class GitRepository:
    """A Git work tree at exactly this path."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def require_work_tree(self) -> None:
        """Refuse a plain folder, also one that merely lies inside some other repository."""
        try:
            top = self.git("rev-parse", "--show-toplevel")
        except HttpError as error:
            raise HttpError(409, f"{self._root} is not a Git work tree") from error
        if os.path.realpath(top) != os.path.realpath(self._root):
            raise HttpError(409, f"{self._root} is not the top of a Git work tree")

    def head(self) -> str:
        """Return the id of the current commit."""
        return self.git("rev-parse", "HEAD")

    @contextlib.contextmanager
    def change(self, folder: str) -> Iterator[Change]:
        """Change `folder` alone in the world; whatever goes wrong, it is put back.

        A note inside the Git folder says what is being changed. A process that dies in the middle
        leaves the note, and the next change puts the folder back before it begins.
        """
        inside = Path(self.git("rev-parse", "--absolute-git-dir"))
        note = inside / "crm-publish.under-way"
        with _exclusive(inside / "crm-publish.lock"):
            if note.exists():
                if left := note.read_text(encoding="utf-8"):  # empty: it died before it began
                    self._put_back(left)
                note.unlink()
            if self.git("status", "--porcelain", "--ignored", "--", folder):
                raise HttpError(409, f"{folder} has changes that nobody committed")
            _write_durably(note, folder)
            try:
                yield Change(self, folder)
            except BaseException:
                self._put_back(folder)
                note.unlink()
                raise
            note.unlink()

    def git(self, *arguments: str) -> str:
        """Output of a Git command; a failure becomes a 500 with what Git said."""
        options = {**_OPTIONS, "safe.directory": os.path.realpath(self._root)}
        command = ["git", "-C", str(self._root)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": "/nonexistent",
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_TERMINAL_PROMPT": "0",
        }
        try:
            done = subprocess.run(
                [*command, *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=GIT_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise HttpError(500, f"git {arguments[0]} could not run: {error}") from error
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip()[-500:]
            raise HttpError(500, f"git {arguments[0]} failed: {said}")
        return done.stdout.strip()

    def _put_back(self, folder: str) -> None:
        """Make index and work tree of the folder what the last commit says."""
        self.git("reset", "--quiet", "--", folder)
        if self.git("ls-files", "--", folder):
            self.git("checkout", "--quiet", "--", folder)
        self.git("clean", "-fdxq", "--", folder)


@contextlib.contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Hold a file lock. The kernel lets go of it when the process dies, however it dies."""
    deadline = time.monotonic() + LOCK_SECONDS
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    message = "another publish is under way"
                    raise HttpError(503, message, Retry_After="5") from None
                time.sleep(0.02)
        yield


def _write_durably(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
