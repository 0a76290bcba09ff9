"""The fleet's tests: one server, its nodes and a registry, an operator's folder, and questions."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from project import Project, Ran, flags, run

from operations.releases import ENDED
from stackpin import lockfile
from stackpin.lab import Lab
from stackpin.lab.registry import faults

INVENTORY = "inventories/fleet"
GATE = {"settle": 0.2, "min_healthy": 1.5, "interval": 0.5, "consecutive": 2, "timeout": 20.0}
AGENT = "xingrin-agent"
HOST_PROGRAM = "python3 /usr/local/lib/stackpin/host.pyz"
OLD, NEW = "v1.1.0", "v1.2.0"


@dataclass
class Fleet(Project):
    """`host` is the server; `nodes` are the names of the others that run an agent."""

    nodes: tuple[str, ...] = ()

    DATA: ClassVar[dict[str, object]] = {
        "xingrin_gate": GATE,
        "xingrin_guard_seconds": 30,
        "xingrin_drain_seconds": 1,
        "stackpin_lock_ttl": 15,
    }
    # A run that waits for a silent node and then takes the fleet back.
    TIMEOUT: ClassVar[float] = 600

    @classmethod
    def bring_up(cls, lab: Lab, folder: Path, nodes: int) -> Fleet:
        """Start the hosts and a registry that has every image; nothing is deployed."""
        lab.fleet(nodes)
        lab.registry.start()
        lab.registry.push(["xingrin"])
        fleet = cls.make(lab, lab.host("server"), folder)
        fleet.nodes = tuple(host.name for host in lab.hosts if host.name.startswith("node"))
        return fleet

    # --- what an operator does

    def program(self, argv: list[str]) -> Ran:
        """Run a program; a fleet takes longer than one host."""
        return run(argv, self.folder, self.ENVIRONMENT, timeout=900)

    def argv(self, command: str, stack: str, *words: str, **data: object) -> list[str]:
        argv = super().argv(command, stack, *words, **data)
        at = argv.index("--limit")
        return [*argv[: at - 2], INVENTORY, stack, *argv[at + 2 :]]

    def deploy(self, *words: str, stack: str = "xingrin", **data: object) -> Ran:
        return self.stackpin("deploy", stack, "--yes", "--wait-lock", "30", *words, **data)

    def update(self, version: str, *words: str, **data: object) -> Ran:
        words = ("--version", version, "--yes", "--wait-lock", "30", *words)
        return self.stackpin("update", "xingrin", *words, **data)

    def hook(self, stage: str, text: str) -> None:
        path = self.folder / "hooks" / stage
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def unhook(self) -> None:
        shutil.rmtree(self.folder / "hooks", ignore_errors=True)

    # --- the pin and the lock file

    @property
    def pins(self) -> Path:
        return self.folder / "inventories/group_data/fleet.py"

    @property
    def lock_path(self) -> Path:
        return self.folder / "inventories/fleet.lock.toml"

    def pinned(self) -> str:
        found = re.search(r'(?m)^xingrin_version = "([^"]*)"', self.pins.read_text())
        assert found
        return found[1]

    def pin(self, version: str) -> None:
        """Write the pin by hand, as a merged review would."""
        text = self.pins.read_text()
        self.pins.write_text(
            re.sub(r'(?m)^xingrin_version = "[^"]*"', f'xingrin_version = "{version}"', text)
        )

    def digest(self, name: str, version: str) -> str:
        """The locked digest of xingrin-<name>."""
        locked = lockfile.read(self.lock_path).version("xingrin", version)
        assert locked, f"nothing is locked for {version}"
        found = [d for ref, d in locked.images.items() if f"/xingrin-{name}:" in ref]
        assert len(found) == 1, locked.images
        return found[0]

    # --- what runs

    def on(self, host: str, command: str, *, check: bool = True, timeout: float = 60) -> str:
        return self.lab.run(host, command, check=check, timeout=timeout).stdout

    def inspect(self, host: str, name: str = AGENT) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(self.on(host, f"docker inspect {name}"))
        return found[0]

    def agents(self) -> dict[str, str]:
        """Container id of the agent by node; "" where none runs."""
        ask = f"docker ps -q --no-trunc --filter name=^/{AGENT}$ --filter status=running"
        return {node: self.on(node, ask).strip() for node in self.nodes}

    def agent_digest(self, node: str) -> str:
        """The digest the running agent was made from."""
        inspected = self.inspect(node)
        assert inspected["State"]["Running"], inspected["State"]
        return str(inspected["Config"]["Image"]).rpartition("@")[2]

    def service(self, name: str) -> dict[str, Any]:
        """The running container of one of the server's services."""
        ask = f"docker ps -q --filter label=com.docker.compose.service={name}"
        ids = self.on("server", ask).split()
        assert len(ids) == 1, f"{name}: {ids}"
        return self.inspect("server", ids[0])

    def server_digest(self) -> str:
        ask = (
            "docker ps -q --filter label=stackpin.stack=xingrin-server --filter label=stackpin.slot"
        )
        ids = self.on("server", ask).split()
        assert len(ids) == 1, ids
        return str(self.inspect("server", ids[0])["Config"]["Image"]).rpartition("@")[2]

    def runs(self, version: str, nodes: tuple[str, ...] | None = None) -> None:
        """Assert that server and nodes run exactly the locked digests of `version`."""
        assert self.server_digest() == self.digest("server", version)
        wanted = self.digest("agent", version)
        found = {node: self.agent_digest(node) for node in nodes or self.nodes}
        assert set(found.values()) == {wanted}, found

    def rests(self, version: str) -> None:
        """Assert that the whole fleet runs `version`, is pinned to it, and nothing is half-way.

        No container of another release, no open run, no armed guard and no lease is left.
        """
        assert self.pinned() == version
        self.runs(version)
        for node in self.nodes:
            names = self.on(node, "docker ps --all --format '{{.Names}}'").split()
            assert names == [AGENT], f"{node}: {names}"
        for host in ("server", *self.nodes):
            found = self.state_of(host)
            run = found["run"] or {}
            assert run.get("stage", "retired") in ENDED, f"{host}: {run}"
            assert (found["pending"], found["lock"]) == (None, None), f"{host}: {found}"

    def state_of(self, host: str) -> dict[str, Any]:
        """What the host recorded of its part."""
        part = "xingrin-server" if host == "server" else "xingrin-worker"
        state: dict[str, Any] = json.loads(self.on(host, f"{HOST_PROGRAM} state {part}"))
        return state

    def api(self, path: str, method: str = "GET", body: object = None) -> Any:
        """Ask the server's API from the first node, as an agent does."""
        data = (
            "" if body is None else f"-H 'Content-Type: application/json' -d '{json.dumps(body)}'"
        )
        url = f"https://{self.host.address}:8083{path}"
        text = self.on(self.nodes[0], f"curl -sk --max-time 10 -X {method} {data} '{url}'")
        return json.loads(text) if text else None

    def workers(self) -> dict[str, dict[str, Any]]:
        """The server's rows of remote nodes, by name."""
        rows = self.api("/api/workers/?pageSize=100")["results"]
        return {row["name"]: row for row in rows if not row["isLocal"]}

    def wait_for(self, what: Callable[[], bool], seconds: float, why: str) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, f"not within {seconds} s: {why}"
            time.sleep(0.5)

    # --- back to a known state

    def settle(self, version: str = OLD) -> None:
        """Undo every disturbance and have the whole fleet on `version`."""
        self.unhook()
        faults.heal(self.lab)
        for name in ("server", *self.nodes):
            self.lab.heal(name)
        self.pin(version)
        if not self.lock_path.exists() or not lockfile.read(self.lock_path).version(
            "xingrin", version
        ):
            self.stackpin("pin", "xingrin", "--version", version).exits(0)
        ran = self.deploy()
        assert ran.code == 0, ran.text
        self.runs(version)

    def down_at_once(self, since: float, until: float) -> tuple[int, int]:
        """(most nodes without a running agent at one moment, nodes that changed their agent).

        From Docker's own events; hosts of a lab share one clock. Times in unix seconds.
        """
        moments: list[tuple[float, int]] = []
        changed = 0
        for node in self.nodes:
            running, down_from, touched = 1, None, False
            for line in self._events(node, since, until):
                at, action = line["timeNano"] / 1e9, line["Action"]
                if action not in {"start", "die"}:
                    continue
                touched = True
                running += 1 if action == "start" else -1
                if running == 0:
                    down_from = at
                elif down_from is not None:
                    moments += [(down_from, 1), (at, -1)]
                    down_from = None
            assert down_from is None, f"{node} was left without an agent"
            changed += touched
        most = now = 0
        for _at, step in sorted(moments):
            now += step
            most = max(most, now)
        return most, changed

    def _events(self, node: str, since: float, until: float) -> list[dict[str, Any]]:
        command = (
            f"docker events --since {since:.3f} --until {until:.3f} --format '{{{{json .}}}}' "
            "--filter type=container --filter label=stackpin.stack=xingrin-worker"
        )
        return [json.loads(line) for line in self.on(node, command).splitlines()]


def overrides(**data: object) -> list[str]:
    """`--data` words, for programs that take them raw."""
    return flags(data)
