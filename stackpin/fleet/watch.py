"""Pass after pass, for ever: the automatic update, until told to stop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from stackpin.fleet.decide import Policy
from stackpin.fleet.memory import Memory, write
from stackpin.fleet.model import Fleet, Node
from stackpin.fleet.passes import Pass, one_pass

__all__ = ["Stop", "watch"]


class Stop(Protocol):
    """Tells a watch when to stop."""

    def is_set(self) -> bool:
        """Whether to stop."""

    def wait(self, seconds: float) -> bool:
        """Wait for at most `seconds`; True when it is time to stop."""


def watch(
    fleet: Fleet,
    memory: Memory,
    policy: Policy,
    *,
    state: Path | None,
    interval: float,
    clock: Callable[[], float],
    stop: Stop,
    shown: Callable[[Pass], None],
    starting: Callable[[tuple[Node, ...]], None] = lambda _nodes: None,
    once: bool = False,
) -> Pass:
    """Make passes every `interval` seconds until `stop` is set, and return the last one.

    `state` is the file the memory is written to after every pass (None: nowhere), `shown` hears of
    every pass. After a batch that went well the next one follows at once. With `once` a single pass
    is made. Raises OSError when the state cannot be written.
    """
    while True:
        done = one_pass(fleet, memory, policy, clock, starting)
        if state is not None:
            write(state, memory)
        shown(done)
        if once or stop.is_set():
            return done
        if not done.progressed and stop.wait(interval):
            return done
