"""One command at a time changes a lab."""

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from stackpin.errors import StackpinError
from stackpin.lab.paths import RUN_DIR, LabPaths

__all__ = ["lab_lock"]

LOCK_SECONDS = 600


@contextmanager
def lab_lock(paths: LabPaths) -> Iterator[None]:
    """Hold the lab's lock; StackpinError when another command keeps it for LOCK_SECONDS."""
    RUN_DIR.mkdir(exist_ok=True, mode=0o700)
    try:
        with FileLock(paths.lock_file, timeout=LOCK_SECONDS):
            yield
    except Timeout as error:
        raise StackpinError(
            f"another stackpin lab command has been at work for {LOCK_SECONDS} s "
            f"(it holds {paths.lock_file})"
        ) from error
