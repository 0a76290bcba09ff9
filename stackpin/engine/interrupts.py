"""Ctrl-C under gevent: delivered to the main greenlet, and held back while things are undone."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import gevent

from stackpin.terminal import SIGNALS, hang_up, heeded

__all__ = ["interruptible", "shielded"]


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into KeyboardInterrupt here, in this greenlet.

    Python's own handler would raise it in whichever greenlet happens to run, for example the one
    that reads an SSH connection. Further signals wait: the run is being undone.
    """
    main = gevent.getcurrent()
    fired = False

    def fire(number: int) -> None:
        nonlocal fired
        hang_up(number)
        if fired:
            print("still undoing; wait, or the host's guard does it", file=sys.stderr)  # noqa: T201
            return
        fired = True
        gevent.kill(main, KeyboardInterrupt())

    before = {number: signal.getsignal(number) for number in SIGNALS if heeded(number)}
    watchers = [gevent.signal_handler(number, fire, number) for number in before]
    try:
        yield
    finally:
        for watcher in watchers:
            watcher.cancel()
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


@contextmanager
def shielded() -> Iterator[None]:
    """Ignore these signals while the last words of a run are written."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
