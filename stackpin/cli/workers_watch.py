"""`stackpin workers watch`: the automatic update."""

# ruff: noqa: D301, PLC0415 -- click wants a real \b; imports on use keep --help fast

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stackpin.cli.exit import run_command
from stackpin.cli.options import Target
from stackpin.cli.output import Output, redact
from stackpin.cli.workers_options import patched

if TYPE_CHECKING:
    from stackpin.fleet.metrics import Metrics
    from stackpin.fleet.model import Node
    from stackpin.fleet.passes import Pass


@click.command()
@click.argument("inventory")
@click.option("--limit", multiple=True, metavar="HOST", help="Only these nodes or groups.")
@click.option("--data", "pairs", multiple=True, metavar="KEY=VALUE", help="Override a variable.")
@click.option(
    "--interval", default=30.0, show_default=True, help="Seconds between two looks.",
    type=click.FloatRange(min=1.0),
)  # fmt: skip
@click.option(
    "--batch", default=1, show_default=True, help="Nodes updated at once.",
    type=click.IntRange(min=1),
)  # fmt: skip
@click.option(
    "--max-failures", default=1, show_default=True, type=click.IntRange(min=0),
    help="Nodes a version may fail on before no other one is tried on it.",
)  # fmt: skip
@click.option("--install", is_flag=True, help="Also install the agent on nodes without one.")
@click.option("--once", is_flag=True, help="Make a single pass.")
@click.option("--metrics", metavar="HOST:PORT", help="Answer Prometheus there.")
@click.option(
    "--metrics-file", type=click.Path(path_type=Path), metavar="FILE",
    help="Write metrics to FILE, for the node exporter's textfile collector.",
)  # fmt: skip
@click.option(
    "--state", type=click.Path(path_type=Path), metavar="FILE",
    help="Where failures are remembered over restarts.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON per pass.")
@click.option("--debug", is_flag=True, help="Show the traceback of an unexpected error.")
def watch(
    inventory: str,
    *,
    limit: tuple[str, ...],
    pairs: tuple[str, ...],
    as_json: bool,
    debug: bool,
    **options: Any,  # noqa: ANN401 - click's own options, see _watch
) -> None:
    """Keep nodes on the pinned version: look every 30 s, update the ones that differ, for ever.

    Only nodes that can be reached and that nobody works on, a batch at a time, each through its
    gate and with the old agent kept until the new one is heard of. A node that fails is left alone
    for 1, 2, 4 ... 30 minutes. Nothing is done while the server itself is not on the pinned
    version. The server's own local agent is never touched.

    SIGTERM or Ctrl-C lets the update at work end; a second one takes it back.

    \b
    Examples:
      stackpin workers watch inventories/prod --metrics 127.0.0.1:9642
      stackpin workers watch inventories/prod --once --json
    """
    out = Output("watch", debug=debug)
    run_command(out, lambda: _watch(out, patched(inventory, limit, pairs), as_json, **options))


def _watch(
    out: Output,
    target: Target,
    as_json: bool,
    *,
    interval: float,
    batch: int,
    max_failures: int,
    install: bool,
    once: bool,
    metrics: str | None,
    metrics_file: Path | None,
    state: Path | None,
) -> int:
    from stackpin.fleet import memory as memories
    from stackpin.fleet import watch as watching
    from stackpin.fleet.decide import Policy
    from stackpin.fleet.hosts import HostFleet
    from stackpin.fleet.metrics import Metrics, parse_address
    from stackpin.fleet.stopping import stopping

    address = parse_address(metrics) if metrics else None
    path = state or memories.default_path(target.inventory)
    with memories.exclusive(path), HostFleet(target.inventory, target.limit, target.data) as fleet:
        # What is wrong already now is no passing trouble: say so and end.
        fleet.check()
        memory = memories.read(path)
        told = Metrics(Path(target.inventory).stem, memory)
        if address:
            told.serve(*address)
        rollouts = fleet.rollouts
        with stopping(lambda: rollouts.busy, rollouts.abort, out.note) as stop:
            last = watching.watch(
                fleet,
                memory,
                Policy(batch, install, max_failures),
                state=path,
                interval=interval,
                clock=time.time,
                stop=stop,
                shown=_shown(out, told, metrics_file, as_json=as_json),
                starting=_starting(out),
                say=out.note,
                once=once,
            )
        told.stopped()
        if metrics_file and not once:
            told.save(metrics_file)
    return last.exit_code() if once else 0


def _shown(
    out: Output, told: Metrics, file: Path | None, *, as_json: bool
) -> Callable[[Pass], None]:
    from stackpin.fleet.telling import Teller

    teller = Teller()

    def shown(done: Pass) -> None:
        told.show(done)
        if file:
            told.save(file)
        if as_json:
            text = json.dumps(done.as_json(), ensure_ascii=False, separators=(",", ":"))
            print(redact(text), flush=True)  # noqa: T201 - the result of the command
        else:
            for line in teller.lines(done):
                out.line(line)

    return shown


def _starting(out: Output) -> Callable[[tuple[Node, ...]], None]:
    return lambda nodes: out.note(f"updating {', '.join(node.name for node in nodes)}")
