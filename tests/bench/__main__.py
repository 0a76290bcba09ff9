"""Run every benchmark on one lab host and write docs/benchmarks.md."""

from __future__ import annotations

import datetime
import os
import platform
import tempfile
import time
from pathlib import Path

from stackpin.lab import Lab
from tests.bench import fleet_gap, fleet_simulated, planning, switching
from tests.bench.fleet import INVENTORY, REPOSITORY, Bench

PAGE = REPOSITORY / "docs" / "benchmarks.md"


def machine() -> str:
    """Describe this machine in a line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}; hosts and operator share these cores"
    )


def main() -> None:
    """Measure, then write the page in one go: a run that fails leaves the old figures."""
    os.environ.setdefault("STACKPIN_LAB_DIR", "/var/lib/stackpin-bench")
    lab = Lab.load()
    lab.down()
    try:
        lab.up(1)
        with tempfile.TemporaryDirectory(prefix="stackpin-bench-") as folder:
            started = time.monotonic()
            bench = Bench(lab, lab.hosts[0].name, Path(folder))
            bench.stackpin("deploy", INVENTORY, "site", "--yes")
            bench.stackpin("deploy", INVENTORY, "site", "--yes")
            first = time.monotonic() - started
            plans = list(planning.measure(bench))
            switches = list(switching.measure(bench))
        lab.down()
        with tempfile.TemporaryDirectory(prefix="stackpin-bench-") as folder:
            gaps = list(fleet_gap.measure(lab, Path(folder)))
        simulated = list(fleet_simulated.measure())
    finally:
        lab.down()
    sections = [*fleet_gap.section(gaps), *fleet_simulated.section(simulated)]
    text = page(first, plans, switches) + "\n".join(["", *sections])
    PAGE.write_text(text)
    print(PAGE.read_text())  # noqa: T201


def page(first: float, plans: list[planning.Row], switches: list[switching.Row]) -> str:
    """Write the figures as Markdown."""
    lines = [
        "# Benchmarks",
        "",
        f"Written by `make bench` on {datetime.date.today():%Y-%m-%d}: {machine()}.",
        "",
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
    for row in switches:
        r, ms = row.result, row.result.latency_ms
        lost = "unknown" if r.lost is None else len(r.lost)
        lines.append(
            f"| {row.way} | {row.switches} | {r.requests:,} | {r.failed:,} | {lost} | "
            f"{ms.get('p50', 0):.1f} | {ms.get('p99', 0):.1f} | {ms.get('max', 0):.1f} |"
        )
    lines += [
        "",
        "## Nothing to do",
        "",
        f"Both stacks on one host in sync, median of {planning.RUNS} runs, no added latency. "
        "*Commands* are the privileged commands the host's sudo recorded: each is a round trip. "
        "`drift` and `verify` ask more than a plan does. These are the baseline for the work on "
        "speed: facts are still asked one by one, as stock pyinfra does.",
        "",
        "| command | wall s | CPU s here | commands on the host |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {row.what} | {row.cost.wall:.2f} | {row.cost.cpu:.2f} | {row.cost.execs} |"
        for row in plans
    ]
    lines += [
        "",
        f"First deploy of both stacks on a fresh host, and a second one: {first:.0f} s together, "
        "with the gate set to two healthy seconds.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
