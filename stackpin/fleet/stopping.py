"""Signals that stop a watch: the first lets the update at work end, the second takes it back."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gevent
from gevent.event import Event

from stackpin.terminal import SIGNALS, hang_up, heeded

__all__ = ["stopping"]


@contextmanager
def stopping(
    busy: Callable[[], bool], abort: Callable[[], None], say: Callable[[str], None]
) -> Iterator[Event]:
    """Yield an event that SIGINT, SIGTERM or SIGHUP sets.

    `busy` tells whether an update is at work; a second signal then calls `abort`. `say` gets a line
    for the user.
    """
    stop = Event()

    def fire(number: int) -> None:
        hang_up(number)
        if stop.is_set():
            say("taking back the update at work")
            abort()
            return
        stop.set()
        if busy():
            say("stopping after the update at work; once more takes it back")

    before = {number: signal.getsignal(number) for number in SIGNALS if heeded(number)}
    watchers = [gevent.signal_handler(number, fire, number) for number in before]
    try:
        yield stop
    finally:
        for watcher in watchers:
            watcher.cancel()
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
