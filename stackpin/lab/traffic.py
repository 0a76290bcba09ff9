"""Strict traffic on one lab host, for the demo, the tests and the benchmarks."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stackpin.lab.hosts import Lab
from stackpin.lab.load import Load, Plan
from stackpin.lab.secret import secret

__all__ = ["CERTIFICATE", "SERVER_NAME", "gate_traffic", "traffic"]

SERVER_NAME = "portal.example.net"  # as inventories/group_data/lab.py has it
CERTIFICATE = "/etc/stackpin/portal/tls/portal.crt"


@contextmanager
def traffic(lab: Lab, name: str, *, rate: float = 120.0, seconds: float = 3000.0) -> Iterator[Load]:
    """Read and write through nginx over TLS until the block ends; `load.stop()` gives the result.

    32 keep-alive and 8 one-shot connections, `rate` requests per second in all, for at most
    `seconds`; the certificate is the one found on the host, nothing else is trusted.
    """
    with tempfile.TemporaryDirectory(prefix="stackpin-load-") as folder:
        ca, token = Path(folder, "ca.pem"), Path(folder, "token")
        ca.write_text(lab.run(name, ["cat", CERTIFICATE]).stdout)
        token.touch(mode=0o600)
        token.write_text(secret("crm-admin-token", lab.paths))
        plan = Plan(
            url=f"https://{lab.host(name).address}",
            server_name=SERVER_NAME,
            ca=ca,
            token_file=token,
            rate=rate,
            seconds=seconds,
        )
        with Load(plan, Path(folder)) as load:
            yield load


@contextmanager
def gate_traffic(
    lab: Lab, name: str, *, rate: float = 60.0, seconds: float = 3000.0
) -> Iterator[Load]:
    """Read, and register users, through InfraCore's gate until the block ends; as `traffic`."""
    with tempfile.TemporaryDirectory(prefix="stackpin-load-") as folder:
        plan = Plan(
            url=f"http://{lab.host(name).address}", app="infracore", rate=rate, seconds=seconds
        )
        with Load(plan, Path(folder)) as load:
            yield load
