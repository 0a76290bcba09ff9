"""A working directory of its own and one lab host, driven by the real `stackpin` command."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stackpin.lab import Lab, LabHost
from stackpin.lab.apps.crm.build import build

REPOSITORY = Path(__file__).resolve().parents[2]
STACKPIN = str(Path(sys.executable).with_name("stackpin"))
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


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return f"exit {self.code}\n{self.out}\n{self.err}"

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)

    def exits(self, code: int) -> Ran:
        assert self.code == code, self.text
        return self


@dataclass
class Kit:
    """One host and one working directory (inventories are a copy, the rest are links)."""

    lab: Lab
    host: LabHost
    work: Path
    data: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def make(cls, lab: Lab, host: LabHost, work: Path) -> Kit:
        for name in ("deploys", "portal", "templates"):
            (work / name).symlink_to(REPOSITORY / name)
        shutil.copytree(REPOSITORY / "inventories", work / "inventories", symlinks=True)
        build(work / "artifacts" / "crm")
        data = {
            "crm_gate": GATE,
            "crm_guard_seconds": GUARD,
            "crm_drain_seconds": 2,
            "stackpin_lock_ttl": 10,
        }
        return cls(lab, host, work, data)

    def argv(self, command: str, stack: str, *words: str, **data: object) -> list[str]:
        argv = [STACKPIN, command, "inventories/lab", stack, "--limit", self.host.name, *words]
        for name, value in {**self.data, **data}.items():
            argv += ["--data", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
        return argv

    def stackpin(
        self,
        command: str,
        stack: str,
        *words: str,
        env: dict[str, str] | None = None,
        timeout: float = 240,
        **data: object,
    ) -> Ran:
        done = subprocess.run(
            self.argv(command, stack, *words, **data),
            cwd=self.work,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def deploy(self, stack: str = "crm", *words: str, **data: object) -> Ran:
        return self.stackpin("deploy", stack, "--yes", "--wait-lock", "20", *words, **data)

    def pin(self, version: str) -> None:
        path = self.work / "inventories/group_data/lab.py"
        text = re.sub(r'(?m)^crm_version = "[^"]*"', f'crm_version = "{version}"', path.read_text())
        path.write_text(text)

    def pinned(self) -> str:
        text = (self.work / "inventories/group_data/lab.py").read_text()
        return re.search(r'(?m)^crm_version = "([^"]*)"', text)[1]

    def run(self, command: str) -> str:
        return self.lab.run(self.host, command).stdout

    def state(self, stack: str = "crm") -> dict[str, Any]:
        program = "/usr/local/lib/stackpin/host.pyz"
        return json.loads(self.run(f"python3 {program} state {stack} </dev/null"))

    def live(self) -> str | None:
        return self.state()["live_release"]

    def hook(self, stage: str, text: str) -> None:
        self.unhook()
        path = self.work / "hooks" / stage
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def unhook(self) -> None:
        shutil.rmtree(self.work / "hooks", ignore_errors=True)

    @contextmanager
    def never_down(self) -> Iterator[None]:
        """Ask the service on the host ten times a second meanwhile; no request may fail."""
        self.lab.run(
            self.host,
            "rm -f /run/stackpin-probe.*; cat >/run/stackpin-probe.py <<'EOF'" + PROBER + "EOF",
        )
        self.run(
            "setsid python3 /run/stackpin-probe.py >/run/stackpin-probe.log 2>&1 </dev/null & "
            "sleep 0.5"
        )
        yield
        self.run("touch /run/stackpin-probe.stop; sleep 0.5")
        log = self.run("cat /run/stackpin-probe.log")
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
