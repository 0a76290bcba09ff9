"""The command line of the load client."""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stackpin.lab.load.apps import APPS
from stackpin.lab.load.clients import Runner
from stackpin.lab.load.plan import Plan, Result


async def _run_until_signal(plan: Plan) -> Result:
    runner = Runner(plan)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, runner.stop)
    sys.stdout.write(f"load on {plan.url} for {plan.seconds:g} s\n")
    sys.stdout.flush()
    return await runner.run()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line: 0 when nothing failed and nothing was lost, 1 if so, 3 if refused."""
    defaults = {name: item.default for name, item in Plan.__dataclass_fields__.items()}
    parser = argparse.ArgumentParser(prog="load", description="Strict load on a lab host.")
    parser.add_argument("--url", required=True, help="https://ADDRESS of a lab host")
    parser.add_argument("--server-name", default="", help="name in the certificate, and Host")
    parser.add_argument("--ca", type=Path, help="certificate file to trust")
    parser.add_argument("--token-file", type=Path, help="file with the CRM's admin token")
    parser.add_argument(
        "--app", choices=sorted(APPS), default=defaults["app"], help="what is asked"
    )
    parser.add_argument("--seconds", type=float, default=defaults["seconds"])
    parser.add_argument("--keep-alive", type=int, default=defaults["keep_alive"])
    parser.add_argument("--one-shot", type=int, default=defaults["one_shot"])
    parser.add_argument("--rate", type=float, default=defaults["rate"], help="requests per second")
    parser.add_argument("--max-requests", type=int, default=defaults["max_requests"])
    parser.add_argument("--json", type=Path, required=True, help="where to write the result")
    parser.add_argument("--pid-file", type=Path, help="where to write the process id")
    options: dict[str, Any] = vars(parser.parse_args(arguments))
    out, pid_file = options.pop("json"), options.pop("pid_file")
    try:
        plan = Plan(**options)
    except ValueError as error:
        sys.stderr.write(f"refused: {error}\n")
        return 3
    if pid_file:
        pid_file.write_text(f"{os.getpid()}\n")
    result = asyncio.run(_run_until_signal(plan))
    beside = out.with_name(out.name + ".new")
    beside.write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")
    beside.replace(out)
    if pid_file:
        pid_file.unlink(missing_ok=True)
    return 1 if result.failed or result.lost or result.lost is None else 0


if __name__ == "__main__":
    sys.exit(main())
