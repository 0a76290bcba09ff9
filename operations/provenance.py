"""Who deploys, and from which commit: recorded with each release, never part of its id."""

from __future__ import annotations

import getpass
import socket
import subprocess
from functools import cache
from pathlib import Path


@cache
def who() -> str:
    """Return user@machine of this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in some containers
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


@cache
def git_head(root: Path) -> str:
    """Return the commit checked out at `root`, "" where there is none."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
