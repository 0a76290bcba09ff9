"""What every benchmark stands on: one lab host with the site, and ways to measure on it."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from stackpin.lab import Lab
from tests.lab.project import INVENTORY, PYINFRA, REPOSITORY, clone, flags, run

__all__ = ["INVENTORY", "REPOSITORY", "Bench", "Cost"]

GATE = {"settle": 0.5, "min_healthy": 2.0, "interval": 0.5, "consecutive": 2, "timeout": 30.0}


@dataclass(frozen=True)
class Cost:
    """What one command cost: wall seconds, CPU seconds here, privileged commands on the host."""

    wall: float
    cpu: float
    execs: int


class Bench:
    """A scratch copy of the inventories (the pin is bumped in it) and one host."""

    def __init__(self, lab: Lab, host: str, folder: Path) -> None:
        self.lab, self.host, self.folder = lab, host, folder
        clone(folder)
        self.data = flags({"crm_gate": GATE, "crm_drain_seconds": 3})

    def stackpin(self, *words: str) -> None:
        """Run `stackpin`; raises RuntimeError with its output when it fails."""
        self._run([sys.executable, "-m", "stackpin", *words, "--limit", self.host, *self.data])

    def pyinfra(self, *words: str) -> None:
        """Run stock `pyinfra` on the lab's inventory."""
        self._run([PYINFRA, INVENTORY, *words, "--limit", self.host, *self.data])

    def _run(self, argv: list[str]) -> None:
        ran = run(argv, self.folder, {}, timeout=600)
        if ran.code not in (0, 2):
            raise RuntimeError(f"{argv}: exit {ran.code}\n{ran.text}")

    def cost(self, command: str, *words: str) -> Cost:
        """Run `stackpin` or `pyinfra` with `words` and tell what it cost."""
        mark = self.on_host("date +%s.%N").strip()
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        getattr(self, command)(*words)
        wall = time.monotonic() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        # sudo journals each privileged command: an honest count of round trips, whoever made them.
        journal = self.on_host(f"journalctl -q --no-pager --since=@{mark} _COMM=sudo")
        return Cost(wall, cpu, journal.count("COMMAND="))

    def on_host(self, command: str) -> str:
        """Run a shell command as root on the host and return its output."""
        return self.lab.run(self.host, command, timeout=120).stdout
