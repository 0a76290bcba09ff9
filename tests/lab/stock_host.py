"""The stock command line against one lab host, for test_stock.py."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import requests

from stackpin.lab import Lab, LabHost

REPOSITORY = Path(__file__).resolve().parents[2]
TOKEN = "lab $HOME `id` & | / \" ' \\ token-of-the-admin"
GATE = {"settle": 0.5, "min_healthy": 2.0, "interval": 0.5, "consecutive": 2, "timeout": 10.0}


@dataclass(frozen=True)
class Ran:
    code: int
    output: str

    def ok(self) -> Ran:
        assert self.code == 0, self.output
        return self

    def changed(self) -> list[str]:
        """Operations that did something, from the table pyinfra prints at the end."""
        rows = re.findall(r"^    (\S.*?)  +1 +1 +- +- *$", self.output, re.M)
        return [row.rpartition("| ")[2] for row in rows]


@dataclass
class Stock:
    """One host and the stock command line."""

    lab: Lab
    host: LabHost
    artifacts: Path

    def pyinfra(self, deploy: str, *words: str, **data: object) -> Ran:
        flags = {"crm_artifact": str(self.artifacts / "crm-{version}.pyz"), "crm_gate": GATE}
        flags |= {"crm_admin_token": "env:TEST_STOCK_TOKEN"} | data
        argv = [str(Path(sys.executable).with_name("pyinfra")), "inventories/lab"]
        argv += [f"deploys/{deploy}.py", "--limit", self.host.name, *(words or ("-y",))]
        for name, value in flags.items():
            argv += ["--data", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
        env = os.environ | {"TEST_STOCK_TOKEN": TOKEN}
        done = subprocess.run(
            argv, cwd=REPOSITORY, env=env, capture_output=True, text=True, check=False, timeout=240
        )
        return Ran(done.returncode, re.sub(r"\x1b\[\d*m", "", done.stdout + done.stderr))

    def run(self, command: str) -> str:
        return self.lab.run(self.host, command).stdout

    def get(self, path: str, scheme: str = "https", **options: object) -> requests.Response:
        options = {"verify": False, "allow_redirects": False} | options
        return requests.request(
            str(options.pop("method", "GET")),
            f"{scheme}://{self.host.address}{path}",
            timeout=10,
            **options,
        )

    def api(self, path: str, **options: object) -> requests.Response:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return self.get(f"/portal-admin-api{path}", headers=headers, **options)

    def pids(self) -> str:
        return self.run(
            "systemctl show -p Id,MainPID,ExecMainStartTimestampMonotonic"
            " crm@blue crm@green nginx stackpin-boot@crm"
        )

    def state(self) -> dict[str, object]:
        return json.loads(self.run("python3 /usr/local/lib/stackpin/host.pyz state crm"))
