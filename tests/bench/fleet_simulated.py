"""200 nodes without hosts: deciding, a whole update, failures, and what a long watch keeps."""

from __future__ import annotations

import gc
import resource
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import generate_latest

from stackpin.fleet.decide import Policy, decide
from stackpin.fleet.memory import Memory
from stackpin.fleet.metrics import Metrics
from stackpin.fleet.passes import Pass
from stackpin.fleet.simulated import Clock, SimulatedFleet
from stackpin.fleet.states import ONLINE, judge
from stackpin.fleet.watch import watch
from stackpin.rollout.rolling import batches, parse_batches

__all__ = ["NODES", "Row", "measure", "section"]

NODES = 200
PASSES = 2000
# More than this after thousands of passes would be a leak.
GROWTH_KIB = 64


@dataclass(frozen=True)
class Row:
    """One figure: what was done, how often, and how long one took in milliseconds."""

    what: str
    number: int
    milliseconds: float
    remark: str = ""


class Watched:
    """A watch over a simulated fleet, with state file and metrics as the real one has."""

    def __init__(self, folder: Path, policy: Policy) -> None:
        self.clock = Clock()
        self.fleet = SimulatedFleet.of(NODES, "v1.1.0", self.clock)
        self.memory, self.policy = Memory(), policy
        self.metrics = Metrics("bench", self.memory)
        self.state = folder / "watch.json"
        self.passes = 0
        self.last: Pass | None = None

    def shown(self, done: Pass) -> None:
        """Take in a pass as the command does."""
        self.passes += 1
        self.last = done
        self.metrics.show(done)

    def go(self, seconds: float) -> float:
        """Watch for that many simulated seconds; return the real ones."""
        self.clock.end = self.clock.now + seconds
        begun = time.perf_counter()
        watch(
            self.fleet, self.memory, self.policy, state=self.state, interval=30.0,
            clock=self.clock, stop=self.clock, shown=self.shown,
        )  # fmt: skip
        return time.perf_counter() - begun


def measure() -> Iterator[Row]:
    """Yield the figures. Raises AssertionError when a bound is broken."""
    with tempfile.TemporaryDirectory(prefix="stackpin-fleet-") as folder:
        yield from _deciding()
        yield from _updating(Path(folder))
        yield from _failing(Path(folder))
        yield from _lasting(Path(folder))


def _deciding() -> Iterator[Row]:
    clock = Clock()
    fleet = SimulatedFleet.of(NODES, "v1.1.0", clock)
    fleet.pin("v1.2.0")
    seen = fleet.observe()
    yield _timed("state of every node", 200, lambda: [
        judge(seen.want, node, seen.ttl) for node in seen.nodes
    ])  # fmt: skip
    policy = Policy(batch=20)
    yield _timed("states and a decision", 200, lambda: decide(seen, {}, clock.now, policy))
    sizes = parse_batches("1,10%,50%")
    yield _timed("cutting 200 nodes into batches 1,10%,50%", 1000,
                 lambda: list(batches(seen.nodes, sizes)))  # type: ignore[arg-type]  # fmt: skip


def _updating(folder: Path) -> Iterator[Row]:
    one = Watched(folder, Policy(batch=20))
    one.fleet.pin("v1.2.0")
    begun = one.clock.now
    took = one.go(3600)
    assert one.last is not None
    assert one.last.counts[ONLINE] == NODES + 1
    assert one.fleet.peak <= 20
    done = max(at for at, _name, _kind in one.fleet.updates) - begun
    yield Row(
        "v1.1.0 to v1.2.0 on all nodes, 20 at once", 1, took * 1000,
        f"{len(one.fleet.updates)} updates in {done:.0f} simulated seconds (20 s a batch)",
    )  # fmt: skip


def _failing(folder: Path) -> Iterator[Row]:
    one = Watched(folder, Policy(batch=20, max_failures=1))
    one.fleet.fails = lambda _node, version: "rolled-back" if version == "v1.4.0" else ""
    one.fleet.pin("v1.4.0")
    took = one.go(24 * 3600)
    touched = {name for _at, name, _kind in one.fleet.updates}
    assert len(touched) <= one.policy.batch
    yield Row(
        "a day with a version that fails everywhere", one.passes, took / one.passes * 1000,
        f"{len(touched)} of {NODES} nodes ever tried it, {len(one.fleet.updates)} times in all",
    )  # fmt: skip


def _lasting(folder: Path) -> Iterator[Row]:
    one = Watched(folder, Policy(batch=5, max_failures=NODES))
    bad = {f"node{index:03}" for index in range(1, 11)}
    one.fleet.fails = lambda node, _version: "failed" if node.name in bad else ""
    for index in range(11, 21):
        one.fleet.change(f"node{index:03}", reachable=False)
    one.fleet.pin("v1.2.0")
    one.go(3600)
    one.fleet.updates.clear()  # the simulation's own record does not count
    tracemalloc.start()
    warm, took, kept = one.passes, 0.0, [0.0]
    for target in (PASSES // 2, PASSES):
        while one.passes - warm < target:
            # Pins move on, nodes fail and come back: as over months.
            one.fleet.pin(f"v1.{one.passes}.0")
            took += one.go(7200)
            generate_latest(one.metrics.registry)
        one.fleet.updates.clear()  # the simulation's own record does not count
        gc.collect()
        kept.append(tracemalloc.get_traced_memory()[0] / 1024)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    grown = kept[2] - kept[1]
    assert grown < GROWTH_KIB, f"{grown:.0f} KiB more after {PASSES // 2} passes"
    size = one.state.stat().st_size
    assert size < 64 * 1024
    total = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    made = one.passes - warm
    yield Row(
        "passes of a long watch, state file and metrics included, memory traced", made,
        took / made * 1000,
        f"kept memory grew by {grown:.0f} KiB over the second half (peak {peak / 2**20:.1f} MiB, "
        f"process {total:.0f} MiB), state file {size} bytes",
    )  # fmt: skip


def _timed(what: str, number: int, do: object) -> Row:
    assert callable(do)
    do()
    begun = time.perf_counter()
    for _ in range(number):
        do()
    return Row(what, number, (time.perf_counter() - begun) / number * 1000)


def section(rows: list[Row]) -> list[str]:
    """Return the section of docs/benchmarks.md as lines of Markdown."""
    return [
        f"## A fleet of {NODES} nodes",
        "",
        "Nodes in memory on a clock that jumps: what deciding and watching cost by themselves, "
        "without SSH. What real nodes cost on top is in [Scaling](scaling.md).",
        "",
        "| what | times | ms each | |",
        "|---|---|---|---|",
        *(f"| {r.what} | {r.number} | {r.milliseconds:.2f} | {r.remark} |" for r in rows),
        "",
    ]


if __name__ == "__main__":
    print("\n".join(section(list(measure()))))  # noqa: T201
