"""What the acts of the demo share: claims that are checked as they are made, commands as typed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from stackpin.lab.load import Load

__all__ = ["ClaimError", "Story", "as_json", "console", "put_back", "stackpin"]

console = Console(highlight=False, soft_wrap=True)


class ClaimError(Exception):
    """Something the demo promised did not happen."""


@dataclass
class Story:
    """What has been proved so far, in order."""

    proved: list[tuple[str, str]] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)

    def claim(self, holds: bool, what: str, figure: str = "") -> None:
        """Record `what` with its measured `figure`; raise ClaimError unless it `holds`."""
        if not holds:
            raise ClaimError(f"{what} {figure}".strip())
        self.proved.append((what, figure))
        console.print(f"  [green]proved[/] {what} {figure}")

    def under_load(
        self, traffic: AbstractContextManager[Load], what: str, *words: str, expect: int = 0
    ) -> None:
        """Run a command under `traffic`; claim that no request failed and no write was lost."""
        with traffic as load:
            time.sleep(2)  # a steady state before the switch
            stackpin(*words, expect=(expect,))
            time.sleep(2)
            result = load.stop()
        self.claim(result.failed == 0, f"{what}: no failed request", f"({result.ok:,} requests)")
        writes = f"({len(result.acknowledged):,} writes)"
        self.claim(result.lost == [], f"{what}: no acknowledged write lost", writes)

    def look(self, inventory: str) -> None:
        """Write the dashboard of an inventory, and claim that its last run left a report."""
        name = Path(inventory).name
        folder = f"dashboard/{name}"
        stackpin("dashboard", inventory, "--out", folder)
        reports = sorted(Path("evidence", name).glob("*/*/report.html"), key=_written)
        self.claim(bool(reports), "every run left a report", f"({len(reports)})")
        self.pages += [str(reports[-1]), f"{folder}/index.html"]

    def chapter(self, title: str) -> None:
        """Print the heading of the next part."""
        console.rule(f"[bold]{title}", align="left")

    def tell_all(self, seconds: float) -> None:
        """Print everything proved, as a table."""
        table = Table(title=f"Proved in {seconds:.0f} s", title_justify="left")
        table.add_column("claim")
        table.add_column("measured")
        for what, figure in self.proved:
            table.add_row(what, figure)
        console.print(table)
        console.print("To look at, in a browser:", *self.pages, sep="\n  ")


def _written(path: Path) -> float:
    return path.stat().st_mtime


def stackpin(*words: str, expect: Sequence[int] = (0,), show: bool = True) -> str:
    """Run one `stackpin` command as a user would and return its standard output.

    Raises ClaimError when the exit code is not one of `expect`.
    """
    console.print(f"[bold]$ stackpin {' '.join(words)}[/]")
    done = subprocess.run(
        [sys.executable, "-m", "stackpin", *words],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=900,
    )
    if show and done.stdout:
        console.print(done.stdout.rstrip(), markup=False, soft_wrap=True)
    if done.returncode not in expect:
        raise ClaimError(
            f"`stackpin {' '.join(words)}` ended with {done.returncode}, expected {expect}"
        )
    return done.stdout


def as_json(*words: str, expect: Sequence[int] = (0,)) -> dict[str, object]:
    """Run a command with `--json` and return its document."""
    document: dict[str, object] = json.loads(stackpin(*words, "--json", expect=expect, show=False))
    return document


@contextmanager
def put_back(*files: Path) -> Iterator[None]:
    """Leave `files` as they were found, absent ones absent, whatever happens in between."""
    before = {file: file.read_text() if file.exists() else None for file in files}
    try:
        yield
    finally:
        for file, text in before.items():
            if text is None:
                file.unlink(missing_ok=True)
            else:
                file.write_text(text)
