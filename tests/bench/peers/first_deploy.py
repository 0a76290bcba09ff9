"""The first deploy of CRM and portal on a bare host, far away: how often the host is asked."""

from __future__ import annotations

import ssl
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from stackpin.lab import Lab
from stackpin.lab.delay import delay
from tests.bench.fleet import INVENTORY, Bench, Cost
from tests.bench.peers.measuring import LOUD_SSHD, Asked, asked
from tests.bench.peers.tools import HERE, Place
from tests.bench.planning import NAGLE

__all__ = ["Deploy", "first_deploys", "serves"]

SECONDS = 10  # stock pyinfra ends when systemd has started the service, which then needs a moment


@dataclass(frozen=True)
class Deploy:
    """One deploy: `key` is stackpin, pyinfra (its own operations) or pyinfra_ours."""

    key: str
    name: str
    cost: Cost
    asked: Asked


def first_deploys(lab: Lab, folder: Path, milliseconds: float) -> Iterator[Deploy]:
    """Deploy the site to a fresh host in each way, one run each.

    RuntimeError when a deploy fails, RuntimeError or OSError when what it left does not serve.
    """
    ours = ("deploys/site.py", "-y", *NAGLE)
    own = (str(HERE / "site_pyinfra.py"), "-y", *NAGLE)
    for key, name, command, words in (
        ("stackpin", "`stackpin deploy`", "stackpin", ("deploy", INVENTORY, "site", "--yes")),
        ("pyinfra_ours", "stock `pyinfra`, Stackpin's deploy file", "pyinfra", ours),
        ("pyinfra", "stock `pyinfra`, its own operations", "pyinfra", own),
    ):
        yield Deploy(key, name, *_deploy(lab, folder, milliseconds, command, words))


def _deploy(
    lab: Lab, folder: Path, milliseconds: float, command: str, words: tuple[str, ...]
) -> tuple[Cost, Asked]:
    host = lab.reset(lab.hosts[0].name)
    lab.run(host, LOUD_SSHD)
    with tempfile.TemporaryDirectory(dir=folder) as inside:
        bench = Bench(lab, host.name, Path(inside))
        delay(lab, milliseconds)
        try:
            with asked(Place(lab, [host], bench.folder)) as seen:
                cost = bench.cost(command, *words)
        finally:
            delay(lab, 0)
    serves(host.address)
    return cost, seen[0]


@retry(
    retry=retry_if_exception_type(OSError),
    stop=stop_after_delay(SECONDS),
    wait=wait_fixed(0.2),
    reraise=True,
)
def serves(address: str) -> None:
    """Raise unless the portal answers and, through it, the CRM says that it is well.

    The certificate made on the host is trusted as it is, but has to be for this address.
    """
    trust = ssl.create_default_context(cadata=ssl.get_server_certificate((address, 443), timeout=5))
    for path, expected in (("portal/", b"<!doctype html>"), ("portal-admin-api/healthz", b"ok")):
        url = f"https://{address}/{path}"
        with urllib.request.urlopen(url, timeout=5, context=trust) as answer:
            body = answer.read()
        if not body.startswith(expected):
            raise RuntimeError(f"{url}: found {body[:80]!r}, expected {expected!r}")
