"""Preflight questions about paths; each answers (ok, measured, expected, remedy)."""

from __future__ import annotations

import os
import pwd
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from stackpin.host import sqlite_db, system
from stackpin.host.errors import HostError
from stackpin.host.stack import Stack

__all__ = ["WRITTEN", "Answer", "database", "repository", "traversable", "writable"]

Answer = tuple[bool, str, str, str]
WRITTEN = ("/etc/stackpin", "/usr/local/lib/stackpin", "/var/lib/stackpin", "/var/backups")


def writable(path: Path) -> Answer:
    """Ask whether root can make things at `path`: a directory, not on a read-only file system."""
    expected = "a writable directory"
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        return False, f"{there} is a file", expected, f"Move {there} away."
    if os.statvfs(there).f_flag & os.ST_RDONLY:
        return False, "read-only", expected, f"Mount the file system of {there} writable."
    return True, "writable", expected, ""


def repository(path: Path, *, create: bool) -> Answer:  # noqa: PLR0911
    """Ask whether `path` is the top of a Git work tree, or may become one."""
    expected = "the top of a Git work tree"
    remedy = f"Clone or `git init` the publish repository at {path}, or set repo_create."
    if not path.exists():
        return create, "absent, will be made" if create else "absent", expected, remedy
    if not path.is_dir():
        return False, "a file", expected, remedy
    if create and not any(path.iterdir()):
        return True, "empty, will be made", expected, ""
    if not shutil.which("git", path="/usr/local/bin:/usr/bin:/bin"):
        found = (path / ".git" / "HEAD").is_file() or (path / ".git").is_file()
        return found, "has .git" if found else "a plain directory", expected, remedy
    # The owner is another user than root: git would refuse to look without safe.directory.
    asked = ["git", "-c", "safe.directory=*", "-C", str(path), "rev-parse", "--show-toplevel"]
    try:
        done = system.run(asked, timeout=10.0, check=False)
    except HostError as problem:
        return False, problem.message, expected, remedy
    top = done.out.strip()
    if not done.ok or not top:
        return False, "a plain directory", expected, remedy
    if Path(top).resolve() != path.resolve():
        return False, f"a folder inside the work tree {top}", expected, remedy
    return True, "a Git work tree", expected, ""


def database(path: Path) -> Answer:
    """Ask whether an existing database is sound; an absent one will be made."""
    expected = "absent or a sound SQLite database"
    if not path.exists():
        return True, "absent, will be made", expected, ""
    try:
        with closing(sqlite_db.open_read_only(path)) as db:
            found = sqlite_db.integrity(db)
    except sqlite3.Error as problem:
        found = str(problem)
    return found == "ok", found, expected, f"Restore {path} from a backup (stackpin restore)."


def traversable(stack: Stack, user: str) -> Answer:
    """Ask, as nginx's user, whether nginx could see the slot file (DESIGN: else it reads absent).

    Directories which do not exist yet are made with the right mode.
    """
    expected = f"{user} may reach {stack.state_dir}"
    try:
        pwd.getpwnam(user)
    except KeyError:
        # On a bare host the package that makes the user is yet to come.
        installed = shutil.which("nginx", path="/usr/sbin") is not None
        return not installed, f"no user {user}", expected, "Set web_user to nginx's user."
    there = [
        path for path in (*reversed(stack.state_dir.parents), stack.state_dir) if path.exists()
    ]
    for path in there:
        if not system.run(["test", "-x", str(path)], user=user, check=False, timeout=10.0).ok:
            return False, f"{path} may not be traversed", expected, f"chmod o+x {path}"
    return True, "reachable", expected, ""
