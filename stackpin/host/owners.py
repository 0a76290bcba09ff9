"""Who owns a path, in the words an operator uses."""

from __future__ import annotations

import grp
import pwd
from pathlib import Path


def of(path: Path) -> dict[str, str]:
    """Return {mode: "0600", user, group} of `path`, links not followed. Raises OSError."""
    found = path.lstat()
    return {
        "mode": f"{found.st_mode & 0o7777:04o}",
        "user": user(found.st_uid),
        "group": group(found.st_gid),
    }


def user(uid: int) -> str:
    """Name a user, by number when it has no name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group(gid: int) -> str:
    """Name a group, by number when it has no name."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
