"""Progress of a run on stderr: a live table on a terminal, timestamped lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from stackpin.cli.output import redact

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

    from stackpin.rollout.progress import Progress

__all__ = ["Lines", "Screen", "progress"]


class Lines:
    """One timestamped line per event, for logs and pipes."""

    def stage(self, name: str, hosts: Sequence[str], part: str = "") -> None:
        """Tell that a stage begins."""
        where = " ".join(hosts) or "here"
        self._print(f"{part + ': ' if part else ''}{name} ({where})")

    def host(self, host: str, stage: str, state: str, text: str = "") -> None:
        """Tell what a host says; beginnings and quiet ends are left out."""
        if state == "line":
            self._print(f"  {host} {stage}: {text}")
        elif state == "fail":
            self._print(f"  {host} {stage}: FAILED {text}".rstrip())

    def say(self, text: str) -> None:
        """Print a line."""
        self._print(text)

    def _print(self, text: str) -> None:
        stamp = time.strftime("%H:%M:%S")
        print(f"{stamp} {redact(text)}", file=sys.stderr, flush=True)  # noqa: T201


class Screen:
    """A table of hosts that keeps itself up to date."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - only where there is a terminal

        self._console = Console(stderr=True, highlight=False)
        self._rows: dict[str, tuple[str, str, str, float]] = {}
        self._live: Live | None = None

    def stage(self, name: str, hosts: Sequence[str], part: str = "") -> None:  # noqa: ARG002
        """Tell that a stage begins; the table appears with the first one of a stack part."""
        if part and self._live is None:
            from rich.live import Live  # noqa: PLC0415

            self._live = Live(
                get_renderable=self._table, console=self._console, refresh_per_second=4
            )
            self._live.start()
        if not part:
            self._console.print(f"{name} …", style="dim")

    def host(self, host: str, stage: str, state: str, text: str = "") -> None:
        """Bring the host's row up to date."""
        since = self._rows.get(host, ("", "", "", 0.0))
        begun = since[3] if since[0] == stage else time.monotonic()
        shown = text or (since[2] if since[0] == stage else "")
        self._rows[host] = (stage, "run" if state == "line" else state, redact(shown), begun)

    def say(self, text: str) -> None:
        """Print a line above the table."""
        self._console.print(redact(text), markup=False)

    def close(self) -> None:
        """Leave the table as it is."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _table(self) -> Table:
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        table = Table(box=None, pad_edge=False, show_header=False)
        styles = {"ok": "green", "fail": "bold red", "run": "cyan"}
        for host, (stage, state, text, begun) in self._rows.items():
            seconds = f"{time.monotonic() - begun:4.0f} s" if state == "run" else state
            style = styles.get(state, "")
            table.add_row(host, Text(stage, style=style), seconds, Text(text[:100], style="dim"))
        return table


@contextmanager
def progress(*, as_json: bool) -> Iterator[Progress]:
    """Yield the Progress that fits stderr: a live table on a terminal, lines elsewhere."""
    if as_json or not sys.stderr.isatty():
        yield Lines()
        return
    screen = Screen()
    try:
        yield screen
    finally:
        screen.close()
