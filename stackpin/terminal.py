"""A terminal that was closed: what is still to be undone must not fail at saying so."""

from __future__ import annotations

import os
import signal
import stat

__all__ = ["SIGNALS", "hang_up", "heeded"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def heeded(number: int) -> bool:
    """Tell whether a signal is ours to act on: under `nohup` SIGHUP was meant to be ignored."""
    return number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN


def hang_up(number: int) -> None:
    """After SIGHUP, send what is printed from now on to nowhere: writing to a gone terminal fails.

    Output that goes to a file or a pipe still goes there.
    """
    if number != signal.SIGHUP:
        return
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        if stat.S_ISCHR(os.fstat(stream).st_mode):
            os.dup2(null, stream)
    os.close(null)
