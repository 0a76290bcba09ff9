"""All tools one after the other: 1 host and 10, near and far, nothing to do and one file to do."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from stackpin.lab import Lab
from stackpin.lab.delay import delay
from tests.bench.peers.end_state import check
from tests.bench.peers.first_deploy import Deploy, first_deploys
from tests.bench.peers.measuring import LOUD_SSHD, Asked, Run, asked, run
from tests.bench.peers.programs import NotInstalledError, ansible_programs
from tests.bench.peers.state import lay_out
from tests.bench.peers.tools import Place, Task, Tool, tools

__all__ = ["FAR", "FIRST", "MANY", "NOTHING", "ONE_FILE", "Case", "Cell", "Results", "compare"]

FAR = 40  # milliseconds of a round trip
MANY = 10  # hosts
FIRST, NOTHING, ONE_FILE = "first apply", "nothing to do", "one file changed"
# Runs counted, after one that is not: that one's memory is sampled and its sessions are counted.
TIMES = {1: 5, MANY: 3}
# Seconds for the counted runs of one cell. Who needs longer than that for one run has no other.
BUDGET = 20.0
# What Ansible's apt module needs there, on every tool's host: they are to be the same.
PREPARE = f"{LOUD_SSHD} && apt-get -qq update && apt-get -qq -y install python3-apt >/dev/null"


@dataclass(frozen=True)
class Case:
    """What is measured: `rtt` in milliseconds, `what` FIRST, NOTHING or ONE_FILE."""

    hosts: int
    rtt: int
    what: str


@dataclass(frozen=True)
class Cell:
    """Medians of `runs` runs; memory and sessions are of one run."""

    wall: float
    cpu: float
    host_cpu: float
    runs: int
    memory: int
    asked: Asked


@dataclass
class Results:
    """Cells by case and tool; `missing` says which tools are not there, and why."""

    tools: list[Tool]
    missing: str = ""
    cells: dict[tuple[Case, str], Cell] = field(default_factory=dict)
    deploys: list[Deploy] = field(default_factory=list)

    def of(self, case: Case, tool: str) -> Cell | None:
        return self.cells.get((case, tool))


def compare(lab: Lab, folder: Path) -> Results:
    """Measure; RuntimeError when a tool fails, or leaves a host other than declared."""
    missing = ""
    try:
        programs = ansible_programs(lab)
    except NotInstalledError as error:
        programs, missing = None, f"Ansible and Mitogen could not be installed: {error}"
    results = Results(tools(programs), missing)
    _one_host(lab, folder, results)
    results.deploys = list(first_deploys(lab, folder, FAR))
    _many_hosts(lab, folder, results)
    return results


def _one_host(lab: Lab, folder: Path, results: Results) -> None:
    """Each tool on a fresh host of its own making."""
    name = lab.up(1)[0].name
    for tool in results.tools:
        host = lab.reset(name)
        lab.run(host, PREPARE, timeout=300)
        with _laid_out(lab, [name], folder) as (place, binary):
            bench = _Bench(place, tool, results)
            delay(lab, FAR)
            bench.measure(Case(1, FAR, FIRST), "apply", 1)
            check(lab, host, 1, binary)
            bench.measure(Case(1, FAR, NOTHING), "look", 1)
            bench.measure(Case(1, FAR, ONE_FILE), "apply", 2)
            check(lab, host, bench.edition, binary)
            delay(lab, 0)
            bench.measure(Case(1, 0, NOTHING), "look", bench.edition)


def _many_hosts(lab: Lab, folder: Path, results: Results) -> None:
    """All tools on the same hosts, made so beforehand; who finds a change is wrong."""
    lab.down()
    names = [host.name for host in lab.up(MANY)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: lab.run(name, PREPARE, timeout=600), names))
    with _laid_out(lab, names, folder) as (place, binary):
        # The script is the fastest to bring it about; Stackpin's program belongs to its own state.
        for tool in reversed(results.tools):
            if tool.key in {"bash", "stackpin"}:
                run(tool, place, "apply", 1)
        for host in place.hosts:
            check(lab, host, 1, binary)
        for rtt in (0, FAR):
            delay(lab, rtt)
            for tool in results.tools:
                _Bench(place, tool, results).measure(Case(MANY, rtt, NOTHING), "look", 1)
    delay(lab, 0)


@contextmanager
def _laid_out(lab: Lab, names: list[str], folder: Path) -> Iterator[tuple[Place, str]]:
    """Lay the sources out in a new folder; yield the place and the binary's SHA-256."""
    with tempfile.TemporaryDirectory(dir=folder) as inside:
        place = Place(lab, [lab.host(name) for name in names], Path(inside))
        yield place, lay_out(place.folder)


@dataclass
class _Bench:
    """One tool in one place; `edition` is the one the hosts have."""

    place: Place
    tool: Tool
    results: Results
    edition: int = 1

    def measure(self, case: Case, task: Task, edition: int) -> None:
        """Run often enough and keep the medians; `edition` is the first run's."""
        if case.what == NOTHING and self.tool.remembers:
            self._run(case, task, edition)
        with asked(self.place) as seen:
            first = self._run(case, task, edition, sample=True)
        runs: list[Run] = []
        if case.what != FIRST:
            until = time.monotonic() + BUDGET
            while len(runs) < TIMES[case.hosts] and time.monotonic() + first.wall < until:
                edition += case.what == ONE_FILE
                runs.append(self._run(case, task, edition))
        runs = runs or [first]
        cell = Cell(
            statistics.median(one.wall for one in runs),
            statistics.median(one.cpu for one in runs),
            statistics.median(one.host_cpu for one in runs),
            len(runs),
            first.memory or 0,
            seen[0],
        )
        self.results.cells[case, self.tool.key] = cell
        where = f"{case.hosts} hosts, {case.rtt} ms, {case.what}"
        sys.stderr.write(f"{self.tool.name}, {where}: {cell.wall:.2f} s\n")

    def _run(self, case: Case, task: Task, edition: int, *, sample: bool = False) -> Run:
        done = run(self.tool, self.place, task, edition, sample=sample)
        self.edition = edition
        due = {NOTHING: 0, ONE_FILE: len(self.place.hosts), FIRST: done.changed or 1}[case.what]
        if done.changed != due:
            raise RuntimeError(
                f"{self.tool.name}, {case}: {done.changed} changes, expected {due}; what was "
                "measured is not what it should be"
            )
        return done
