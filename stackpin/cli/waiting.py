"""Which hosts are waited for: a line on a terminal that keeps itself up to date."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.live import Live

    from stackpin.engine.waiting import State

__all__ = ["Waiting", "hosts_shown"]

SLOW = 2.0  # seconds after which a host is named
NAMED = 5  # at most: those that are waited for longest


class Waiting:
    """Counts the hosts that have answered, and names those that have not for long."""

    def __init__(self) -> None:
        self._hosts: dict[str, tuple[State, float]] = {}
        self._live: Live | None = None

    def on_host(self, host: str, state: State) -> None:
        """Take an event in; the line appears when there are several hosts."""
        self._hosts[host] = (state, time.monotonic())
        if self._live is None and len(self._hosts) > 1:
            from rich.console import Console  # noqa: PLC0415 - only where there is a terminal
            from rich.live import Live  # noqa: PLC0415
            from rich.text import Text  # noqa: PLC0415

            self._live = Live(
                get_renderable=lambda: Text(self.text(), style="dim", overflow="ellipsis"),
                console=Console(stderr=True, highlight=False),
                refresh_per_second=4,
                transient=True,
                redirect_stdout=False,
            )
            self._live.start()

    def text(self) -> str:
        """Say it in a line."""
        now = time.monotonic()
        done = sum(state == "done" for state, _ in self._hosts.values())
        slow = sorted(
            (since, host)
            for host, (state, since) in self._hosts.items()
            if state == "waiting" and now - since >= SLOW
        )
        named = ", ".join(f"{host} ({now - since:.0f} s)" for since, host in slow[:NAMED])
        more = f" and {len(slow) - NAMED} more" if len(slow) > NAMED else ""
        line = f"{done} of {len(self._hosts)} hosts answered"
        return f"{line}; waiting for {named}{more}" if named else line

    def close(self) -> None:
        """Take the line away."""
        if self._live is not None:
            self._live.stop()
            self._live = None


@contextmanager
def hosts_shown(*, as_json: bool) -> Iterator[None]:
    """Show on stderr which hosts are waited for, if it is a terminal and nobody reads JSON."""
    if as_json or not sys.stderr.isatty():
        yield
        return
    from stackpin.engine.waiting import told  # noqa: PLC0415 - not for --help

    shown = Waiting()
    try:
        with told(shown.on_host):
            yield
    finally:
        shown.close()
