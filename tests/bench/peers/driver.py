"""Run a deploy file by Stackpin's engine, in a process of its own as every tool is.

    python -m tests.bench.peers.driver plan|apply INVENTORY DEPLOY

Prints JSON: how many operations change, or changed, something, on all hosts together; and of a
plan what each of its phases took.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from stackpin.cli.startup import prepare_imports

PART = "warehouse"
LOAD, CONNECT, ASK, PLAN = "load programs", "connect", "ask", "plan"


class Phases:
    """Seconds and processor time of this process by phase, from its start on."""

    def __init__(self) -> None:
        self.took: dict[str, tuple[float, float]] = {}
        started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        self._wall, self._cpu = started / os.sysconf("SC_CLK_TCK"), 0.0

    def ended(self, name: str) -> None:
        """Note that a phase is over, and the next one begins."""
        wall, cpu = time.clock_gettime(time.CLOCK_BOOTTIME), time.process_time()
        self.took[name] = (wall - self._wall, cpu - self._cpu)
        self._wall, self._cpu = wall, cpu


def main(command: str, inventory: str, deploy: str) -> int:
    phases = Phases()
    prepare_imports()  # as every command of ours does
    from stackpin.engine.session import open_session

    phases.ended(LOAD)
    with open_session(inventory) as session:
        phases.ended(CONNECT)
        if command == "plan":
            from stackpin.engine.deploys import explore
            from stackpin.engine.plan import make_plan

            files = {PART: [deploy]}
            places = dict.fromkeys(session.hosts, (PART,))
            calls = {host: [("state", PART, {})] for host in session.hosts}  # what make_plan asks
            explore(session, files, {}, places, calls)
            phases.ended(ASK)
            plan = make_plan(session, PART, files, {}, places)
            phases.ended(PLAN)
            changed = [
                op
                for host in plan.hosts
                for op in plan.changes(host)
                if op.verdict == "change"  # not what only another operation's change would cause
            ]
        else:
            from stackpin.engine.apply import apply

            applied = apply(session, session.hosts, PART, [deploy], {})
            for host, one in applied.items():
                if one.failure is not None:
                    raise SystemExit(f"{host}: {one.failure}")
            changed = [name for one in applied.values() for name in one.changed]
    sys.stdout.write(json.dumps({"changed": len(changed), "phases": phases.took}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
