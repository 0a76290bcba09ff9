"""Requests lost by three ways to bring a new version: ours, a restart, and the seed's own steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from stackpin.lab.load import Result
from stackpin.lab.traffic import traffic
from tests.bench.fleet import INVENTORY, Bench

ROUNDS = 10
PAUSE = 2.0  # seconds between two changes, so that clients reach a steady state


@dataclass(frozen=True)
class Row:
    """One way of switching, under the same load."""

    way: str
    switches: int
    result: Result


def measure(bench: Bench) -> Iterator[Row]:
    """Yield a row per way; every way leaves v1.0.0 serving."""
    yield _row(bench, "Stackpin: update and rollback", 2 * ROUNDS, lambda: _stackpin(bench))
    yield _row(bench, "`systemctl restart` on one port", ROUNDS, lambda: _restart(bench))
    yield _row(bench, "kill, copy the file, start (the seed's way)", ROUNDS, lambda: _seed(bench))


def _row(bench: Bench, way: str, switches: int, change: Callable[[], None]) -> Row:
    with traffic(bench.lab, bench.host, rate=150) as load:
        time.sleep(PAUSE)
        change()
        time.sleep(PAUSE)
        return Row(way, switches, load.stop())


def _stackpin(bench: Bench) -> None:
    for _ in range(ROUNDS):
        bench.stackpin("update", INVENTORY, "crm", "--version", "v1.1.0", "--yes")
        bench.stackpin("rollback", INVENTORY, "crm", "--yes")


def _live_unit(bench: Bench) -> str:
    green = bench.on_host("test -e /var/lib/stackpin/crm/live.green && echo yes || true").strip()
    return f"crm@{'green' if green else 'blue'}.service"


def _restart(bench: Bench) -> None:
    unit = _live_unit(bench)
    for _ in range(ROUNDS):
        # The unit's start limit is for crash loops, not for a benchmark.
        bench.on_host(f"systemctl reset-failed {unit}; systemctl restart {unit}")
        time.sleep(PAUSE)


def _seed(bench: Bench) -> None:
    """Stop the process, copy the binary over the old one, start: what its script does."""
    unit = _live_unit(bench)
    binary = f"/opt/crm/slots/{unit.removesuffix('.service').partition('@')[2]}/server"
    copy = f"cp -p {binary} /tmp/server && cp -p /tmp/server {binary}"
    for _ in range(ROUNDS):
        bench.on_host(
            f"systemctl reset-failed {unit}; systemctl stop {unit} && {copy}"
            f" && systemctl start {unit}"
        )
        time.sleep(PAUSE)


def section(rows: list[Row]) -> list[str]:
    """Write the figures as Markdown lines."""
    lines = [
        "## Switching under load",
        "",
        "32 keep-alive and 8 one-shot connections through nginx over TLS, reads and writes, no "
        "client retry; every reset, wrong status, wrong body and missing answer is a failure. "
        "All ways in one run on one host. A failing client comes back at once, so read the "
        "failures of an outage as its length. *Lost* are writes that were acknowledged and are "
        "not in the database afterwards.",
        "",
        "| way | switches | requests | failed | lost | p50 ms | p99 ms | max ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        r, ms = row.result, row.result.latency_ms
        lost = "unknown" if r.lost is None else len(r.lost)
        lines.append(
            f"| {row.way} | {row.switches} | {r.requests:,} | {r.failed:,} | {lost} | "
            f"{ms.get('p50', 0):.1f} | {ms.get('p99', 0):.1f} | {ms.get('max', 0):.1f} |"
        )
    return [*lines, ""]
