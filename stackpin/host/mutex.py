"""One state change at a time per stack, without anybody waiting for a gate.

The mutex is held only while something changes, never while a stage waits; whoever takes it reads
the state again. It is a flock: the kernel gives it back when its holder dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from stackpin.host.disk import make_dir
from stackpin.host.errors import failed
from stackpin.host.stack import Stack

__all__ = ["flock", "mutex", "state_dir"]

WAIT = 180.0  # seconds; a unit may take 90 s to stop
HUNG_AFTER = 20.0  # seconds a holder may keep the guard waiting
POLL = 0.05


def state_dir(stack: Stack) -> Path:
    """Make the state directory of a stack: nginx may pass through it, not list it."""
    if not stack.state_dir.is_dir():
        make_dir(stack.state_dir.parent, 0o711)
        make_dir(stack.state_dir, 0o711)
    return stack.state_dir


@contextlib.contextmanager
def mutex(
    stack: Stack, *, timeout: float = WAIT, evict_while: Callable[[], bool] | None = None
) -> Iterator[None]:
    """Hold the stack's mutex.

    evict_while: for the guard. A holder that keeps it waiting longer than HUNG_AFTER while this
    still says True is stopped or hung with the way back blocked, and gets killed.
    Raises HostError(error) after `timeout` seconds.
    """
    path = state_dir(stack) / "mutex"
    with flock(path, timeout=timeout, evict_while=evict_while):
        yield


@contextlib.contextmanager
def flock(
    path: Path, *, timeout: float, evict_while: Callable[[], bool] | None = None
) -> Iterator[None]:
    """Hold an exclusive flock on `path` (created 0600), with the holder's pid in it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(fd, path, timeout, evict_while)
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(fd)


def _take(fd: int, path: Path, timeout: float, evict_while: Callable[[], bool] | None) -> None:
    started = time.monotonic()
    evict_at = started + HUNG_AFTER
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            now = time.monotonic()
            if now - started > timeout:
                holder = _holder(fd)
                raise failed(
                    f"{path}: held for more than {timeout:g} s by process {holder}; "
                    "see what it waits for, then try again",
                    pid=holder,
                ) from None
            if evict_while is not None and now > evict_at and evict_while():
                _evict(_holder(fd))
                evict_at = now + HUNG_AFTER
            time.sleep(POLL)
        else:
            return


def _holder(fd: int) -> int | None:
    text = os.pread(fd, 20, 0).decode("ascii", "replace")
    return int(text) if text.isdigit() else None


def _evict(pid: int | None) -> None:
    """Kill the holder, if that pid is still the host program and not something newer."""
    if pid is None:
        return
    with contextlib.suppress(OSError):
        if b".pyz" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
