"""What it costs to say "nothing to do" about the site on one host."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from tests.bench.fleet import INVENTORY, Bench, Cost

RUNS = 3
NAGLE = ("--data", "ssh_paramiko_connect_kwargs={}")  # what stock pyinfra does without our option


@dataclass(frozen=True)
class Row:
    """Medians of RUNS runs after one that is not counted."""

    what: str
    cost: Cost


def measure(bench: Bench) -> Iterator[Row]:
    """Yield a row per tool; the host is in sync before and after."""
    stock = ("deploys/site.py", "--dry")
    yield _row(bench, "stock pyinfra, Nagle on", "pyinfra", *stock, *NAGLE)
    yield _row(bench, "stock pyinfra with TCP_NODELAY", "pyinfra", *stock)
    yield _row(bench, "`stackpin plan`", "stackpin", "plan", INVENTORY, "site")
    yield _row(bench, "`stackpin drift`", "stackpin", "drift", INVENTORY, "site")
    yield _row(bench, "`stackpin verify`", "stackpin", "verify", INVENTORY, "site")


def _row(bench: Bench, what: str, command: str, *words: str) -> Row:
    costs = [bench.cost(command, *words) for _ in range(RUNS + 1)][1:]
    middle = Cost(
        statistics.median(cost.wall for cost in costs),
        statistics.median(cost.cpu for cost in costs),
        round(statistics.median(cost.execs for cost in costs)),
    )
    return Row(what, middle)


def section(rows: list[Row], first: float) -> list[str]:
    """Write the figures as Markdown lines; `first` is what two deploys of a fresh host took."""
    return [
        "## Nothing to do",
        "",
        f"Both stacks on one host in sync, median of {RUNS} runs, no added latency. "
        "*Commands* are the privileged commands the host's sudo recorded: each is a round trip. "
        "Stackpin asks a host for everything at once; stock pyinfra asks fact by fact. `verify` "
        "has the host run its checks.",
        "",
        "| command | wall s | CPU s here | commands on the host |",
        "|---|---|---|---|",
        *(
            f"| {row.what} | {row.cost.wall:.2f} | {row.cost.cpu:.2f} | {row.cost.execs} |"
            for row in rows
        ),
        "",
        f"First deploy of both stacks on a fresh host, and a second one: {first:.0f} s together, "
        "with the gate set to two healthy seconds.",
        "",
    ]
