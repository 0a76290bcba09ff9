"""The engine's tests: a short gate and guard, pins, hooks, and a service that is never down."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from project import Project, Ran

GATE = {"settle": 0.2, "min_healthy": 1.0, "interval": 0.3, "consecutive": 2, "timeout": 10.0}
GUARD = 20

# Runs on the host, so that a cut network does not blind it. Each request is a new connection.
PROBER = """
import http.client, ssl, sys, time, os
context = ssl._create_unverified_context()
ok = failed = 0
while not os.path.exists("/run/stackpin-probe.stop"):
    try:
        c = http.client.HTTPSConnection("127.0.0.1", 443, timeout=10, context=context)
        c.request("GET", "/portal-admin-api/healthz", headers={"Host": "portal.example.net"})
        r = c.getresponse()
        good = r.status == 200 and r.read().strip() == b"ok"
        what = r.status
        c.close()
    except Exception as error:
        good, what = False, repr(error)
    ok += good
    failed += not good
    if not good:
        print(time.strftime("%H:%M:%S"), what, flush=True)
    time.sleep(0.1)
print("ok", ok, "failed", failed, flush=True)
"""


class Kit(Project):
    DATA: ClassVar[dict[str, object]] = {
        "crm_gate": GATE,
        "crm_guard_seconds": GUARD,
        "crm_drain_seconds": 2,
        "stackpin_lock_ttl": 10,
    }

    def deploy(self, stack: str = "crm", *words: str, **data: object) -> Ran:
        return self.stackpin("deploy", stack, "--yes", "--wait-lock", "20", *words, **data)

    def pin(self, version: str) -> None:
        path = self.folder / "inventories/group_data/lab.py"
        text = re.sub(r'(?m)^crm_version = "[^"]*"', f'crm_version = "{version}"', path.read_text())
        path.write_text(text)

    def pinned(self) -> str:
        text = (self.folder / "inventories/group_data/lab.py").read_text()
        found = re.search(r'(?m)^crm_version = "([^"]*)"', text)
        assert found, text
        return found[1]

    def live(self) -> str | None:
        release: str | None = self.state()["live_release"]
        return release

    def hook(self, stage: str, text: str) -> None:
        self.unhook()
        path = self.folder / "hooks" / stage
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def unhook(self) -> None:
        shutil.rmtree(self.folder / "hooks", ignore_errors=True)

    @contextmanager
    def never_down(self) -> Iterator[None]:
        """Ask the service on the host ten times a second meanwhile; no request may fail."""
        self.on_host(
            "rm -f /run/stackpin-probe.*; cat >/run/stackpin-probe.py <<'EOF'" + PROBER + "EOF",
        )
        self.on_host(
            "setsid python3 /run/stackpin-probe.py >/run/stackpin-probe.log 2>&1 </dev/null & "
            "sleep 0.5"
        )
        yield
        self.on_host("touch /run/stackpin-probe.stop; sleep 0.5")
        log = self.on_host("cat /run/stackpin-probe.log")
        found = re.search(r"ok (\d+) failed (\d+)", log)
        assert found, log
        assert int(found[2]) == 0, log
        assert int(found[1]) > 5, log

    def wait_for(self, what: Any, seconds: float) -> None:
        """Wait until `what()` is true; the deadline is by the clock."""
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, f"not within {seconds} s: {self.state()}"
            time.sleep(1)
