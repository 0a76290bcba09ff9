"""`verify --watch`: rounds of checks, as a table that keeps itself up to date, or as lines."""

# ruff: noqa: PLC0415 -- rich is slow to import, and only needed on a terminal

from __future__ import annotations

import sys
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from stackpin.cli.exit import Exit
from stackpin.cli.output import Output, redact

if TYPE_CHECKING:
    from rich.table import Table

    from stackpin.rollout.model import Run

__all__ = ["watch"]

SHOWN = 30  # rounds in the table's history
Key = tuple[str, str]  # host and part; the part is empty for a host that does not answer


@dataclass
class Round:
    """One round: GateResults by host and part, or why a host did not answer."""

    number: int
    at: datetime
    gates: dict[Key, dict[str, Any]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def code(self) -> int:
        """5 when something does not pass, 1 when a host did not answer, else 0."""
        if any(not self.health(host)["passed"] for host in self.hosts()):
            return Exit.BROKEN
        return Exit.ERROR if self.errors else Exit.OK

    def health(self, host: str) -> dict[str, Any]:
        """Return the GateResult over all parts of a host."""
        from stackpin.rollout.verifying import overall

        return overall([gate for (name, _), gate in self.gates.items() if name == host])

    def hosts(self) -> list[str]:
        """Name the hosts that answered."""
        return list(dict.fromkeys(host for host, _ in self.gates))

    def as_json(self) -> dict[str, Any]:
        """Return the round as JSON values."""
        hosts: dict[str, dict[str, Any]] = {}
        for (host, part), gate in self.gates.items():
            hosts.setdefault(host, {})[part] = gate
        at = self.at.isoformat(timespec="seconds")
        return {"at": at, "exit": int(self.code), "hosts": hosts, "errors": self.errors}


def watch(out: Output, run: Run, interval: float, count: int | None) -> int:
    """Verify `run` every `interval` seconds, `count` times or until Ctrl-C; the last round's code.

    A host that does not answer is told as such and connected anew for the next round.
    """
    import gevent

    from stackpin.engine.interrupts import interruptible
    from stackpin.rollout.verifying import prepare

    prepare(run)
    away = [roll.error for roll in run.rolls]  # left for the next run, and so not asked
    for error in away:
        out.note(f"not asked: {error}")
    last: Round | None = None
    documents = []
    with ExitStack() as shown:
        on_screen = sys.stdout.isatty() and not out.as_json
        show = (shown.enter_context(_Screen(out)) if on_screen else _Lines(out)).show
        try:
            with interruptible():
                while count is None or last is None or last.number < count:
                    begun = time.monotonic()
                    last = _round(run, 1 if last is None else last.number + 1)
                    documents.append(last.as_json())
                    if not out.as_json:
                        del documents[:-1]
                    show(last)
                    if last.number != count:
                        gevent.sleep(max(0.0, interval - (time.monotonic() - begun)))
        except KeyboardInterrupt:
            if last is None:
                raise
    assert last is not None  # noqa: S101 - the loop ran, or it raised
    out.document({**documents[-1], "rounds": documents})
    return Exit.CHANGES if away and last.code == Exit.OK else last.code


def _round(run: Run, number: int) -> Round:
    from stackpin.engine.remote import RemoteError, RemoteLost
    from stackpin.rollout.verifying import verify_round

    found = Round(number, datetime.now(UTC))
    done = verify_round(run)
    for rolls in done.values.values():
        found.gates.update({(roll.host, roll.part): roll.checks or {} for roll in rolls})
    for host, error in done.errors.items():
        found.errors[host] = str(error)
        if isinstance(error, RemoteLost):
            try:
                run.session.reconnect(host)
            except RemoteError as away:
                found.errors[host] = str(away)
    return found


def _failing(gate: dict[str, Any]) -> dict[str, str]:
    """Map the names of failed checks to what they expected and got."""
    return {
        one["name"]: f"expected {one['expected']}, got {one['got']}"
        for one in gate["results"]
        if not one["ok"]
    }


class _Lines:
    """A line per host and round, and one for every check that failed or recovered."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._failing: dict[Key, dict[str, str]] = {}

    def show(self, found: Round) -> None:
        """Print a round."""
        stamp = found.at.astimezone().strftime("%H:%M:%S")
        for host in found.hosts():
            total = found.health(host)
            word = "passed" if total["passed"] else "FAILED"
            self._out.line(f"{stamp} {host}: health score {total['score']:.0%}, {word}")
        for (host, part), gate in found.gates.items():
            now, before = _failing(gate), self._failing.get((host, part), {})
            for name in now.keys() - before.keys():
                self._out.line(f"{stamp} {host} {part}: {name} fails: {now[name]}")
            for name in before.keys() - now.keys():
                self._out.line(f"{stamp} {host} {part}: {name} is well again")
            self._failing[host, part] = now
        for error in found.errors.values():
            self._out.line(f"{stamp} {error}")


class _Screen:
    """A table with a row per part: its score, its last rounds, since when, and what fails."""

    def __init__(self, out: Output) -> None:
        from rich.live import Live

        self._history: dict[Key, deque[bool]] = {}
        self._since: dict[Key, datetime] = {}
        self._live = Live(console=out.console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, found: Round) -> None:
        """Note a round and draw the table."""
        passed = {key: bool(gate["passed"]) for key, gate in found.gates.items()}
        passed |= {(host, ""): False for host in found.errors}
        for key, good in passed.items():
            history = self._history.setdefault(key, deque(maxlen=SHOWN))
            if not history or history[-1] != good:
                self._since[key] = found.at
            history.append(good)
        self._live.update(self._table(found), refresh=True)

    def _table(self, found: Round) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False)
        for column in ("host", "part", "score", "since", f"last {SHOWN} rounds", "fails"):
            table.add_column(column)
        for key, gate in found.gates.items():
            told = "; ".join(f"{name}: {why}" for name, why in _failing(gate).items())
            self._row(table, key, f"{gate['score']:.0%}", told)
        for host, error in found.errors.items():
            self._row(table, (host, ""), "-", error)
        for host in found.hosts():
            total = found.health(host)
            style = "bold green" if total["passed"] else "bold red"
            table.add_row(host, Text("health score", style), Text(f"{total['score']:.0%}", style))
        table.caption = f"round {found.number}, Ctrl-C ends"
        table.caption_justify = "left"
        return table

    def _row(self, table: Table, key: Key, score: str, told: str) -> None:
        from rich.text import Text

        marks = Text()
        for good in self._history[key]:
            marks.append("■" if good else "✗", "green" if good else "bold red")
        since = self._since[key].astimezone().strftime("%H:%M:%S")
        style = "green" if self._history[key][-1] else "bold red"
        table.add_row(*key, Text(score, style), since, marks, Text(redact(told)[:300], "red"))
