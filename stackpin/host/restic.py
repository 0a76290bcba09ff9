"""The restic repository of a stack: made once, encrypted, and shared with nobody's other tags.

Works with restic 0.14 (Debian 12) and later.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import shutil
import socket
from pathlib import Path
from typing import Any

from stackpin.host import disk, system
from stackpin.host.errors import HostError, failed, refused
from stackpin.host.stack import Stack

__all__ = ["Repository"]

TAG = "stackpin"
HOUR = 3600.0  # seconds; what one restic call may take
_SAFE_ID = re.compile(r"^[0-9a-f]{8,64}$")


class Repository:
    """One repository. Secrets go by file and environment, never by argument."""

    def __init__(self, stack: Stack) -> None:
        """Take place, retention and environment from the stack's `backup` settings."""
        settings = stack.backup or {}
        self.stack = stack
        named = str(settings.get("repository") or "")
        if named.startswith("/"):
            named = str(stack.at(named))
        self.location = named or str(stack.backup_dir / "restic")
        self.host = socket.gethostname()
        self.password_file = stack.settings_dir / "restic.password"
        self.keep_last = int(settings.get("keep_last") or 10)
        self.keep_daily = int(settings.get("keep_daily") or 0)
        self._env = {str(k): str(v) for k, v in (settings.get("env") or {}).items()}

    @property
    def local(self) -> Path | None:
        """The repository's directory when it is on this host."""
        return Path(self.location) if self.location.startswith("/") else None

    def require_program(self) -> None:
        """Raise HostError(refused) when restic is not installed."""
        path = "/usr/local/bin:/usr/bin:/bin"
        if not shutil.which("restic", path=path):
            raise refused("restic: not installed on this host; apt-get install restic")

    def prepare(self) -> None:
        """Make password and repository where there are none yet.

        Raises HostError(refused): a repository is there, its password is not.
        """
        self.require_program()
        exists = self._exists()
        if not self.password_file.is_file():
            if exists:
                raise refused(
                    f"{self.password_file}: absent, but {self.location} is a repository already; "
                    "put its password back, without it no backup in it can be read"
                )
            if not self.password_file.parent.is_dir():
                disk.make_dir(self.password_file.parent, 0o711)
            disk.atomic_write(self.password_file, (secrets.token_urlsafe(32) + "\n").encode())
        if exists:
            return
        if self.local is not None and not self.local.parent.is_dir():
            disk.make_dir(self.local.parent, 0o700)
        self._run("init", quiet=True)

    def backup(self, paths: list[Path], tags: list[str]) -> dict[str, Any]:
        """Store `paths`; return restic's summary (snapshot_id, data_added, ...)."""
        # A lock left by a killed backup: unlock takes only those whose process is gone.
        self._run("unlock", quiet=True)
        words = ["--host", self.host]
        for tag in [TAG, f"stack={self.stack.name}", *tags]:
            words += ["--tag", tag.replace(",", ";")]  # a comma would end the tag
        out = self._run("backup", *words, "--", *map(str, paths)).out
        for line in reversed(out.splitlines()):
            with contextlib.suppress(ValueError):
                message = json.loads(line)
                if isinstance(message, dict) and message.get("message_type") == "summary":
                    return message
        raise failed("restic backup: no summary in its answer", output=out[-500:])

    def snapshots(self) -> list[dict[str, Any]]:
        """List this stack's snapshots on this host as restic shows them, oldest first."""
        if not self._exists():
            return []
        out = self._run("snapshots", *self._ours()).out
        return sorted(json.loads(out or "[]") or [], key=lambda snapshot: str(snapshot["time"]))

    def find(self, wanted: str | None) -> dict[str, Any]:
        """Return one of our snapshots by id or its beginning, the newest for None.

        Raises HostError(refused): there is none.
        """
        found = self.snapshots()
        if wanted is not None and not _SAFE_ID.match(wanted):
            raise refused(f"backup {wanted!r}: expected at least 8 hexadecimal digits")
        if wanted is not None:
            found = [snapshot for snapshot in found if str(snapshot["id"]).startswith(wanted)]
        if not found:
            what = f"backup {wanted}" if wanted else "backups"
            raise refused(
                f"{what} of stack {self.stack.name}: none in {self.location}; "
                "see `stackpin backup list`"
            )
        return found[-1]

    def forget(self) -> list[str]:
        """Apply retention to our own snapshots of this host only; return the ids that went."""
        words = [*self._ours(), "--group-by", "host", "--keep-last", str(self.keep_last)]
        if self.keep_daily:
            words += ["--keep-daily", str(self.keep_daily)]
        out = self._run("forget", *words, "--prune").out
        gone: list[str] = []
        for line in out.splitlines():
            # With --prune more than the JSON document is printed.
            with contextlib.suppress(ValueError):
                groups = json.loads(line)
                for group in groups if isinstance(groups, list) else []:
                    gone += [str(s["short_id"]) for s in group.get("remove") or []]
        return gone

    def check(self) -> None:
        """Read every byte of the repository. Raises HostError(error) naming what is damaged."""
        self._run("unlock", quiet=True)
        self._run("check", "--read-data", as_json=False)

    def restore(self, snapshot: str, target: Path, include: list[Path]) -> None:
        """Write parts of a snapshot below `target`."""
        words = [word for path in include for word in ("--include", str(path))]
        self._run("restore", snapshot, "--target", str(target), *words, as_json=False)

    def _ours(self) -> list[str]:
        return ["--tag", f"{TAG},stack={self.stack.name}", "--host", self.host]

    def _exists(self) -> bool:
        if self.local is not None:
            return (self.local / "config").is_file()
        if not self.password_file.is_file():
            return False
        try:
            self._run("cat", "config", quiet=True)
        except HostError as problem:
            # Only this answer means "not made yet"; an unreachable server must not read so.
            if re.search(r"unable to open config file|does not exist|no such", problem.message):
                return False
            raise
        return True

    def _run(self, *words: str, as_json: bool = True, quiet: bool = False) -> system.Result:
        options = ["--repo", self.location, "--password-file", str(self.password_file)]
        if as_json:
            options.append("--json")
        if quiet:
            options.append("--quiet")
        if self.local is not None:
            options.append("--no-cache")
        env = {"HOME": "/root", "XDG_CACHE_HOME": "/var/cache/stackpin", **self._env}
        # Be polite: the service on this host comes first.
        nice = ["nice", "-n", "10"]
        done = system.run([*nice, "restic", *options, *words], timeout=HOUR, env=env, check=False)
        if done.ok:
            return done
        raise failed(
            f"restic {words[0]} on {self.location}: {_reason(done)}",
            code=done.code,
            output=(done.err + done.out)[-2000:],
        )


def _reason(done: system.Result) -> str:
    """Pick what restic says went wrong out of its answer."""
    lines = [line.strip() for line in (done.out + "\n" + done.err).splitlines() if line.strip()]
    words = r"(?i)error|fatal|wrong|damaged|locked|does not match|\bpack [0-9a-f]{8}"
    telling = [line for line in lines if re.search(words, line)]
    # Several are told for a damaged repository; the first names the file.
    return "; ".join(telling[:3]) or (lines[-1] if lines else f"exit status {done.code}")
