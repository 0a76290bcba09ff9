"""Run the benchmarks, or one of them, and write docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from stackpin.lab import Lab
from tests.bench import fleet_gap, infracore_gap, phases, planning, scaling, switching
from tests.bench.fleet import INVENTORY, REPOSITORY, Bench
from tests.bench.page import measured, replaced
from tests.bench.peers.comparing import compare
from tests.bench.peers.plot import plot
from tests.bench.peers.section import PLOT
from tests.bench.peers.section import section as peers_section

PAGE = REPOSITORY / "docs" / "benchmarks.md"
Sections = list[list[str]]


def site(lab: Lab, folder: Path) -> Sections:
    """Switching, and what a run costs that has nothing to do: the site on one host."""
    lab.up(1)
    started = time.monotonic()
    bench = Bench(lab, lab.hosts[0].name, folder)
    bench.stackpin("deploy", INVENTORY, "site", "--yes")
    bench.stackpin("deploy", INVENTORY, "site", "--yes")
    first = time.monotonic() - started
    plans = list(planning.measure(bench))
    return [switching.section(list(switching.measure(bench))), planning.section(plans, first)]


def peers(lab: Lab, folder: Path) -> Sections:
    """One state of 64 resources by Stackpin, Ansible, Mitogen, pyinfra and a script."""
    results = compare(lab, folder)
    (PAGE.parent / PLOT).write_text(plot(results))
    return [peers_section(results)]


def simulated(_lab: Lab, _folder: Path) -> Sections:
    """Decisions and a watch over 200 nodes in memory."""
    # Late: it brings gevent, which would start the programs that others measure.
    from tests.bench import fleet_simulated

    return [fleet_simulated.section(list(fleet_simulated.measure()))]


BENCHMARKS: dict[str, Callable[[Lab, Path], Sections]] = {
    "site": site,
    "peers": peers,
    "phases": lambda lab, folder: [phases.section(list(phases.measure(lab, folder)))],
    "fleet_gap": lambda lab, folder: [fleet_gap.section(list(fleet_gap.measure(lab, folder)))],
    "infracore_gap": lambda lab, folder: [
        infracore_gap.section(list(infracore_gap.measure(lab, folder)))
    ],
    "scaling": lambda lab, folder: [scaling.section(list(scaling.measure(lab, folder)))],
    "fleet_simulated": simulated,
}


def main() -> None:
    """Measure; each benchmark that is done replaces its sections, so a failure leaves old ones."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure and write the page.")
    parser.add_argument("--only", choices=BENCHMARKS, help="measure this one alone")
    only: str | None = parser.parse_args().only
    os.environ.setdefault("STACKPIN_LAB_DIR", "/var/lib/stackpin-bench")
    lab = Lab.load()
    for name, measure in BENCHMARKS.items():
        if only not in {None, name}:
            continue
        lab.down()
        try:
            with tempfile.TemporaryDirectory(prefix="stackpin-bench-") as folder:
                sections = measure(lab, Path(folder))
        finally:
            lab.down()
        for section in sections:
            PAGE.write_text(replaced(PAGE.read_text(), [*section, measured()]))
            sys.stdout.write("\n".join(section) + "\n")


if __name__ == "__main__":
    main()
