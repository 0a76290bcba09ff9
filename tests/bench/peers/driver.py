"""Run a deploy file by Stackpin's engine, in a process of its own as every tool is.

    python -m tests.bench.peers.driver plan|apply INVENTORY DEPLOY

Prints JSON: how many operations change, or changed, something, on all hosts together.
"""

from __future__ import annotations

import json
import sys

from stackpin.cli.startup import prepare_imports

PART = "warehouse"


def main(command: str, inventory: str, deploy: str) -> int:
    prepare_imports()  # as every command of ours does
    from stackpin.engine.session import open_session

    with open_session(inventory) as session:
        if command == "plan":
            from stackpin.engine.deploys import explore
            from stackpin.engine.plan import make_plan

            files = {PART: [deploy]}
            places = dict.fromkeys(session.hosts, (PART,))
            calls = {host: [("state", PART, {})] for host in session.hosts}  # what make_plan asks
            explore(session, files, {}, places, calls)
            plan = make_plan(session, PART, files, {}, places)
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
    sys.stdout.write(json.dumps({"changed": len(changed)}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
