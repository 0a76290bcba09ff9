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
    say: Callable[[str], None] = lambda _text: None,
    once: bool = False,
) -> Pass:
    """Make passes every `interval` seconds until `stop` is set, and return the last one.

    `state` is the file the memory is written to after every pass (None: nowhere), `shown` hears of
    every pass. After a batch that went well the next one follows at once. With `once` a single pass
    is made. `say` hears of a state file that cannot be written; the watch goes on without.
    """
    trouble = ""
    while True:
        done = one_pass(fleet, memory, policy, clock, starting=starting, stopping=stop.is_set)
        before, trouble = trouble, _save(state, memory)
        if trouble and trouble != before:
            say(trouble)
        shown(done)
        if once or stop.is_set():
            return done
        if not done.progressed and stop.wait(interval):
            return done


def _save(state: Path | None, memory: Memory) -> str:
    """Write the memory; return what went wrong, "" for nothing."""
    if state is None:
        return ""
    try:
        write(state, memory)
    except OSError as error:
        return f"{state}: {error.strerror or error}: failures will not survive a restart"
    return ""
