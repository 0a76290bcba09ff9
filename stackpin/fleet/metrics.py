"""What a watch tells Prometheus.

The series are made from the last pass when somebody asks, so a node that left the fleet leaves no
series behind, and nothing grows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from stackpin.errors import Refused
from stackpin.exposition import exposition, replace
from stackpin.fleet.decide import server_problem
from stackpin.fleet.memory import Memory
from stackpin.fleet.model import OUTCOMES
from stackpin.fleet.passes import Pass
from stackpin.fleet.states import STATES

__all__ = ["Metrics", "parse_address"]

NODE = ("inventory", "node")


class Metrics(Collector):
    """The metrics of one watch over `inventory` (its name); `show` them after each pass."""

    def __init__(self, inventory: str, memory: Memory) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self)
        self._inventory = inventory
        self._memory = memory
        self._last: Pass | None = None
        self._passes = {"ok": 0, "error": 0}
        self._up = True

    def show(self, done: Pass) -> None:
        """Take in a pass. One that could not look keeps the states of the one before."""
        self._passes["error" if done.error else "ok"] += 1
        if not done.error or self._last is None:
            self._last = done

    def stopped(self) -> None:
        """Say that the watch has ended; matters for the text file, which stays."""
        self._up = False

    def serve(self, host: str, port: int) -> int:
        """Answer HTTP on `host`:`port` from now on; port 0 takes a free one. Returns the port.

        Raises Refused when that cannot be had.
        """
        try:
            server, _thread = start_http_server(port, host, self.registry)
            return int(server.server_port)
        except OSError as error:
            raise Refused(
                f"--metrics {host}:{port}: {error.strerror or error}; "
                "expected a free port on an address of this machine"
            ) from error

    def save(self, path: Path) -> None:
        """Replace the text file at `path`. Raises Refused when it cannot be written."""
        try:
            replace(path, exposition(self.collect()))
        except OSError as error:
            raise Refused(f"--metrics-file {path}: {error.strerror or error}") from error

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; called by prometheus-client."""
        one = [self._inventory]
        up = GaugeMetricFamily("stackpin_watch_up", "1 while the watch runs.", labels=NODE[:1])
        up.add_metric(one, float(self._up))
        yield up
        passes = CounterMetricFamily(
            "stackpin_watch_passes", "Passes by outcome.", labels=("inventory", "outcome")
        )
        for outcome, number in self._passes.items():
            passes.add_metric([*one, outcome], number)
        yield passes
        updates = CounterMetricFamily(
            "stackpin_watch_updates",
            "Updates of nodes by outcome, since the state file was made.",
            labels=("inventory", "outcome"),
        )
        for kind in OUTCOMES:
            updates.add_metric([*one, kind], self._memory.tally.updates.get(kind, 0))
        yield updates
        lost = CounterMetricFamily(
            "stackpin_watch_leases_lost",
            "Updates during which the node's lease in Redis was lost.",
            labels=NODE[:1],
        )
        lost.add_metric(one, self._memory.tally.leases_lost)
        yield lost
        if self._last is not None:
            yield from self._of_pass(self._last)

    def _of_pass(self, last: Pass) -> Iterator[Metric]:
        one = [self._inventory]
        for name, text, value in (
            ("time_seconds", "When the last pass that could look began (Unix time).", last.at),
            ("seconds", "How long it took.", last.seconds),
        ):
            gauge = GaugeMetricFamily(f"stackpin_watch_last_pass_{name}", text, labels=NODE[:1])
            gauge.add_metric(one, value)
            yield gauge
        if last.seen is None or last.decision is None:
            return
        ready = GaugeMetricFamily(
            "stackpin_watch_server_ready",
            "1 when the server runs what is pinned and is healthy.",
            labels=NODE[:1],
        )
        ready.add_metric(one, float(not server_problem(last.seen)))
        yield ready
        total = GaugeMetricFamily(
            "stackpin_workers", "Nodes by state.", labels=("inventory", "state")
        )
        for state, number in last.counts.items():
            total.add_metric([*one, state], number)
        yield total
        yield from self._of_nodes(last)

    def _of_nodes(self, last: Pass) -> Iterator[Metric]:
        state = GaugeMetricFamily(
            "stackpin_worker_state",
            "1 for the state the node is in, 0 for the others.",
            labels=(*NODE, "state"),
        )
        differs = GaugeMetricFamily(
            "stackpin_worker_differs", "1 when it runs something else than pinned.", labels=NODE
        )
        backoff = GaugeMetricFamily(
            "stackpin_worker_backoff_seconds",
            "How long it is left alone after failures; 0 when it is not.",
            labels=NODE,
        )
        for name, judged in last.decision.states.items() if last.decision else ():
            for known in STATES:
                state.add_metric([self._inventory, name, known], float(judged.state == known))
            differs.add_metric([self._inventory, name], float(judged.differs))
            backoff.add_metric([self._inventory, name], last.backoff.get(name, 0.0))
        yield from (state, differs, backoff)


def parse_address(text: str) -> tuple[str, int]:
    """Read "HOST:PORT" or "[V6]:PORT". Raises Refused."""
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise Refused(f"--metrics {text}: expected HOST:PORT, such as 127.0.0.1:9642")
    return host.strip("[]"), int(port)
