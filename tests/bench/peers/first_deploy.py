"""The first deploy of CRM and portal on a bare host, far away: how often the host is asked."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stackpin.lab import Lab
from stackpin.lab.delay import delay
from tests.bench.fleet import INVENTORY, Bench, Cost
from tests.bench.peers.measuring import LOUD_SSHD, Asked, asked
from tests.bench.peers.tools import Place
from tests.bench.planning import NAGLE

__all__ = ["Deploy", "first_deploys"]


@dataclass(frozen=True)
class Deploy:
    """One deploy: `key` is stackpin or pyinfra."""

    key: str
    name: str
    cost: Cost
    asked: Asked


def first_deploys(lab: Lab, folder: Path, milliseconds: float) -> Iterator[Deploy]:
    """Deploy the site to a fresh host by `stackpin` and by stock pyinfra, one run each."""
    yield _deploy(lab, folder, milliseconds, "stackpin", "`stackpin deploy`",
                  "deploy", INVENTORY, "site", "--yes")  # fmt: skip
    yield _deploy(lab, folder, milliseconds, "pyinfra", "stock `pyinfra`, the same deploy file",
                  "deploys/site.py", "-y", *NAGLE)  # fmt: skip


def _deploy(
    lab: Lab, folder: Path, milliseconds: float, key: str, name: str, *words: str
) -> Deploy:
    host = lab.reset(lab.hosts[0].name)
    lab.run(host, LOUD_SSHD)
    with tempfile.TemporaryDirectory(dir=folder) as inside:
        bench = Bench(lab, host.name, Path(inside))
        delay(lab, milliseconds)
        try:
            with asked(Place(lab, [host], bench.folder)) as seen:
                cost = bench.cost(key, *words)
        finally:
            delay(lab, 0)
    return Deploy(key, name, cost, seen[0])
