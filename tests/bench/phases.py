"""Where the time of a look at the 64 resources goes, with one host and with ten."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stackpin.lab import Lab
from tests.bench.peers.comparing import MANY
from tests.bench.peers.driver import ASK, CONNECT, LOAD, PLAN
from tests.bench.peers.measuring import run
from tests.bench.peers.state import lay_out
from tests.bench.peers.tools import Place, Stackpin

__all__ = ["Row", "measure", "section"]

RUNS = 7
END = "end"
SAID = {
    LOAD: "Python starts and imports; the hosts wait, and one core",
    CONNECT: "key exchange and login, on all hosts at once",
    ASK: "their one exec, rendered here; its commands run there",
    PLAN: "the deploy file, host after host on one core; the hosts are done",
    END: "Python ends",
}


@dataclass(frozen=True)
class Row:
    """Medians of RUNS looks at so many hosts: seconds, and CPU here, by phase; CPU of all hosts."""

    hosts: int
    wall: dict[str, float]
    cpu: dict[str, float]
    host_cpu: float


class Watched(Stackpin):
    """Keeps what the driver tells of its phases."""

    took: dict[str, list[float]]

    def changed(self, output: str) -> int:
        self.took = json.loads(output)["phases"]
        return super().changed(output)


def measure(lab: Lab, folder: Path) -> Iterator[Row]:
    """Bring the state about on one host, then on ten, and yield what looks at it take."""
    lay_out(folder)
    for count in (1, MANY):
        lab.up(count)
        place = Place(lab, lab.hosts, folder)
        tool = Watched("stackpin", "Stackpin", "deploy_stackpin.py")
        run(tool, place, "apply", 1)
        run(tool, place, "look", 1)
        looks = []
        for _ in range(RUNS):
            one = run(tool, place, "look", 1)
            wall, cpu = ({name: took[n] for name, took in tool.took.items()} for n in (0, 1))
            wall[END], cpu[END] = one.wall - sum(wall.values()), one.cpu - sum(cpu.values())
            looks.append(Row(count, wall, cpu, one.host_cpu))
        yield Row(
            count,
            {name: statistics.median(look.wall[name] for look in looks) for name in SAID},
            {name: statistics.median(look.cpu[name] for look in looks) for name in SAID},
            statistics.median(look.host_cpu for look in looks),
        )


def section(rows: Sequence[Row]) -> list[str]:
    """Write the figures as Markdown lines."""
    one, many = rows
    return [
        "## Where the time of a look goes",
        "",
        "The 64 resources of the section above, nothing to do, no added latency: medians of "
        f"{RUNS} looks by Stackpin. *Here* is processor time of the operator's process. What the "
        "hosts' processors did, all phases together, is in the last row: they share the operator's "
        "two cores, so that work of theirs is waited for here which would be done side by side on "
        "machines of their own.",
        "",
        f"| phase | 1 host: wall s | here s | {MANY} hosts: wall s | here s | what happens |",
        "|---|---|---|---|---|---|",
        *(
            f"| {name} | {one.wall[name]:.2f} | {one.cpu[name]:.2f} | {many.wall[name]:.2f} | "
            f"{many.cpu[name]:.2f} | {said} |"
            for name, said in SAID.items()
        ),
        f"| together | {sum(one.wall.values()):.2f} | {sum(one.cpu.values()):.2f} | "
        f"{sum(many.wall.values()):.2f} | {sum(many.cpu.values()):.2f} | |",
        f"| the hosts' processors | | {one.host_cpu:.2f} | | {many.host_cpu:.2f} | |",
        "",
    ]
