"""Who is told that hosts are asked and have answered, while many are asked at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

__all__ = ["OnHost", "State", "queued", "told", "waited_for"]

State = Literal["queued", "waiting", "done"]
OnHost = Callable[[str, State], None]

_listeners: list[OnHost] = []


@contextmanager
def told(on_host: OnHost) -> Iterator[None]:
    """Call `on_host(host, state)` whenever a host is about to be asked, asked, or has answered."""
    _listeners.append(on_host)
    try:
        yield
    finally:
        _listeners.remove(on_host)


def queued(hosts: Sequence[str]) -> None:
    """Tell that `hosts` are to be asked, as many at a time as may be."""
    for host in hosts:
        _tell(host, "queued")


@contextmanager
def waited_for(host: str) -> Iterator[None]:
    """Tell that `host` is waited for, until it has answered or failed."""
    _tell(host, "waiting")
    try:
        yield
    finally:
        _tell(host, "done")


def _tell(host: str, state: State) -> None:
    for on_host in _listeners:
        on_host(host, state)
