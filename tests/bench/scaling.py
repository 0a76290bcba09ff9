"""How `plan` and `drift` grow with the number of hosts, all in sync."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stackpin.lab import Lab
from tests.bench.peers.measuring import Spent, spent
from tests.lab.project import INVENTORY, STACKPIN, clone

__all__ = ["Row", "measure", "section"]

STEPS = (1, 5, 10, 20, 40)
RUNS = 3
STACK = "portal"  # the lightest: pages behind nginx
COMMANDS = ("plan", "drift")


@dataclass(frozen=True)
class Row:
    """Medians of RUNS runs of one command on so many hosts; `memory` of the one before, sampled."""

    command: str
    hosts: int
    wall: float
    cpu: float
    memory: int


def measure(lab: Lab, folder: Path, steps: Sequence[int] = STEPS) -> Iterator[Row]:
    """Have ever more hosts in sync, and yield a row per command and step."""
    clone(folder)
    ready = 0
    for count in steps:
        lab.up(count)
        names = [host.name for host in lab.hosts]
        new = [word for name in names[ready:] for word in ("--limit", name)]
        _stackpin(lab, folder, "deploy", "--batch", "100%", "--yes", *new)
        ready = count
        for command in COMMANDS:
            first = _stackpin(lab, folder, command, sample=True)
            runs = [_stackpin(lab, folder, command) for _ in range(RUNS)]
            wall = statistics.median(run.wall for run in runs)
            cpu = statistics.median(run.cpu for run in runs)
            yield Row(command, count, wall, cpu, first.memory or 0)


def _stackpin(lab: Lab, folder: Path, command: str, *options: str, sample: bool = False) -> Spent:
    argv = [STACKPIN, command, INVENTORY, STACK, *options]
    ran = spent(lab, argv, folder, os.environ, sample=sample)
    if ran.done.returncode != 0:  # 2 would be drift: then something else was measured
        text = ran.done.stdout + ran.done.stderr
        raise RuntimeError(f"{argv}: exit {ran.done.returncode}\n{text}")
    return ran


def section(rows: Sequence[Row]) -> list[str]:
    """Write the figures as Markdown lines."""
    return [
        "## Growth with the number of hosts",
        "",
        f"`{STACK}` in sync on all of them, no added latency, median of {RUNS} runs. *CPU* is of "
        "the operator's processes, *per further host* since the row above; memory is the peak of "
        "all of them together. The hosts work on the same cores, so wall time grows with them here "
        "more than it would elsewhere.",
        "",
        "| command | hosts | wall s | CPU s | CPU s per further host | memory MiB |",
        "|---|---|---|---|---|---|",
        *(
            f"| `stackpin {row.command}` | {row.hosts} | {row.wall:.2f} | {row.cpu:.2f} | "
            f"{_further(rows, row)} | {row.memory >> 20} |"
            for row in sorted(rows, key=lambda row: (COMMANDS.index(row.command), row.hosts))
        ),
        "",
    ]


def _further(rows: Sequence[Row], row: Row) -> str:
    fewer = [r for r in rows if r.command == row.command and r.hosts < row.hosts]
    if not fewer:
        return ""
    last = max(fewer, key=lambda r: r.hosts)
    return f"{(row.cpu - last.cpu) / (row.hosts - last.hosts):.3f}"
