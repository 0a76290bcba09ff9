"""Print a secret of the lab, making it up the first time: `python -m stackpin.lab.secret NAME`.

The lab's group data refers to its secrets through this command, so that a clean clone works
without anyone exporting anything. They lie in the lab's directory and go when it is removed.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import sys

from stackpin.lab.paths import LabPaths

__all__ = ["secret"]


def secret(name: str, paths: LabPaths) -> str:
    """Return the secret `name` (letters, digits, dashes); two first callers get the same one."""
    if not re.fullmatch(r"[a-z0-9-]+", name):
        raise ValueError(f"{name!r}: expected lower-case letters, digits and dashes")
    folder = paths.secrets
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path, draft = folder / name, folder / f".{name}.{os.getpid()}"
    if not path.exists():
        with open(draft, "x", opener=_private) as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)  # unlike a rename, leaves the winner's secret in place
        draft.unlink()
    return path.read_text().strip()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


if __name__ == "__main__":
    sys.stdout.write(secret(sys.argv[1], LabPaths.from_env()) + "\n")
