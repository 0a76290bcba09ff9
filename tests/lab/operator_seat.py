"""An operator's seat for lab tests: a folder like a clone, the `stackpin` command, one host.

STACKPIN_LAB_HOST names the host to use (its disk is made fresh); the first one otherwise.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from stackpin.lab import Lab, LabHost
from stackpin.lab.apps.crm.build import build
from stackpin.lab.ssh import ssh_command

REPOSITORY = Path(__file__).resolve().parents[2]
TOKEN = "seat $HOME `id` & | / \" ' \\ seat-admin-zq7x9k"
GATE = {"settle": 0.5, "min_healthy": 2.0, "interval": 0.5, "consecutive": 2, "timeout": 40.0}
STACKPIN = str(Path(sys.executable).with_name("stackpin"))


@dataclass(frozen=True)
class Ran:
    """What a command did; `output` is stdout and stderr together."""

    code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr

    def ends(self, code: int) -> Ran:
        assert self.code == code, self.output
        return self

    @property
    def document(self) -> Any:
        return json.loads(self.stdout)


class Seat:
    """Runs `stackpin` in its own folder against one host with a token of every metacharacter."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        wanted = os.environ.get("STACKPIN_LAB_HOST")
        self.lab = lab
        self.host: LabHost = lab.reset(wanted or lab.hosts[0].name)
        self.folder = folder
        self.all_output: list[str] = []
        for name in ("deploys", "portal", "templates"):
            (folder / name).symlink_to(REPOSITORY / name)
        shutil.copytree(REPOSITORY / "inventories", folder / "inventories", symlinks=True)
        build(folder / "artifacts/crm")

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"SEAT_TOKEN": TOKEN, "PYTHONUNBUFFERED": "1"}

    def argv(self, command: str, *words: str, stack: str = "site", **data: object) -> list[str]:
        """`command` may hold subcommand words before the inventory: "backup list"."""
        flags = {"crm_admin_token": "env:SEAT_TOKEN", "crm_gate": GATE, **data}
        argv = [STACKPIN, *command.split(), "inventories/lab", stack, "--limit", self.host.name]
        for name, value in flags.items():
            argv += ["--data", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
        return [*argv, *words]

    def run(self, command: str, *words: str, stack: str = "site", **data: object) -> Ran:
        return self.program(self.argv(command, *words, stack=stack, **data))

    def program(self, argv: list[str], timeout: float = 280) -> Ran:
        done = subprocess.run(
            argv,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        self.all_output.append(done.stdout + done.stderr)
        return Ran(done.returncode, done.stdout, done.stderr)

    def start(self, command: str, *words: str, stack: str = "crm") -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.argv(command, *words, stack=stack),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def on_host(self, command: str, data: bytes = b"", *, check: bool = True) -> str:
        argv = [*ssh_command(self.lab.paths, self.host), command]
        done = subprocess.run(argv, input=data, capture_output=True, check=False, timeout=120)
        if check and done.returncode:
            raise AssertionError(f"{command}: {done.returncode}: {done.stderr.decode()}")
        return done.stdout.decode("utf-8", "replace")

    def state(self, part: str = "crm") -> dict[str, Any]:
        text = self.on_host(f"python3 /usr/local/lib/stackpin/host.pyz state {part}")
        return json.loads(text)  # type: ignore[no-any-return]

    def api(self, method: str, path: str, **options: Any) -> requests.Response:
        return requests.request(
            method,
            f"https://{self.host.address}/portal-admin-api{path}",
            headers={"Authorization": f"Bearer {TOKEN}"},
            verify=False,  # noqa: S501 -- the lab's own self-signed certificate
            timeout=10,
            **options,
        )

    def write_draft(self, name: str) -> None:
        body = {"pack_id": "pack", "provider_id": name, "manifest": {"name": name}}
        answer = self.api("POST", "/api/provider-drafts", json=body)
        assert answer.status_code == 201, answer.text

    def drafts(self) -> set[str]:
        found = self.api("GET", "/api/provider-drafts").json()["drafts"]
        return {draft["provider_id"] for draft in found}


def wait_for(what: Any, seconds: float = 20) -> None:
    """Wait until `what()` is true."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)
