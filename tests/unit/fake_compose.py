"""A host whose stacks are services of one compose project on the host's network."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from stackpin.host import main
from stackpin.host.stack import Stack
from stackpin.host.system import Result
from tests.unit.fake_docker import ZERO, Docker, digest
from tests.unit.host_core_fakes import Host

PROJECT = "infracore"
DATABASE = "/var/lib/docker/volumes/infracore_data/_data/console.db"
PORTS = {
    "console": {"blue": 18282, "green": 18283, "rehearsal": 18284},
    "snap": {"blue": 18288, "green": 18289, "rehearsal": 18291},
    "orchestrator": {"blue": 9090, "green": 9090, "rehearsal": 18290},
}


class Engine(Docker):
    """A docker with the compose plugin."""

    def __init__(self, host: ComposeHost) -> None:
        super().__init__(host.step)
        self.host = host
        self.updaters = ""
        self.mounts: list[dict[str, Any]] = []

    def ps(self, words: list[str]) -> Result:
        if any("volume=" in word for word in words):
            return Result(0, self.updaters, "")
        return super().ps(words)

    def run(self, argv: list[str], data: Any = None, *rest: Any, **more: Any) -> Result:
        if argv[1] == "inspect":
            return Result(0, json.dumps(self.mounts), "")
        return super().run(argv, data, *rest, **more)

    def rm(self, words: list[str], _: Any) -> Result:
        self.containers.pop(words[-1], None)
        return Result(0, "", "")

    def compose(self, words: list[str], data: Any) -> Result:
        file = Path(next(w.partition("=")[2] for w in words if w.startswith("--file=/")))
        declared = json.loads(file.read_text())["services"]
        profiles = {word.partition("=")[2] for word in words if word.startswith("--profile=")}
        known = [n for n, s in declared.items() if set(s.get("profiles", [])) <= profiles]
        over = json.loads(data)["services"]
        if set(over) - set(declared):
            return Result(1, "", f"service {sorted(over)} has neither an image nor a build context")
        plain = [word for word in words[1:] if not word.startswith("-")]
        if plain[0] == "config":
            shown = known if "--services" in words else []
            if "--hash=*" in words:
                shown = [f"{n} {self.hash(declared[n], over.get(n))}" for n in known]
            return Result(0, "\n".join(shown), "")
        assert plain[0] == "up" and "--no-deps" in words
        for name in plain[1:]:
            state = "created" if "--no-start" in words else "running"
            self.make(name, declared[name], over[name], state)
        return Result(0, "", "")

    @staticmethod
    def hash(*parts: Any) -> str:
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def make(self, service: str, declared: Any, over: Any, state: str) -> None:
        name = f"{PROJECT}-{service}-1"
        old = self.find(name)
        if old is not None:
            del self.containers[old]
        self.born += 1
        labels = {
            "com.docker.compose.project": PROJECT,
            "com.docker.compose.service": service,
            "com.docker.compose.config-hash": self.hash(declared, over),
            **declared.get("labels", {}),
            **over.get("labels", {}),
        }
        self.containers[f"c{self.born:04}"] = {
            "name": name, "labels": labels, "image": declared["image"], "state": state,
            "env": [f"{k}={v}" for k, v in over["environment"].items()], "exit": 0,
            "policy": over["restart"], "pid": 7, "restarts": 0, "created": f"{self.born:04}",
            "image_id": "id",
        }  # fmt: skip


class ComposeHost(Host):
    """The host of all of them; a container has the port its variable PORT says."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        super().__init__(root, patch)
        self.docker = Engine(self)
        self.rehearsed: list[dict[str, str]] = []
        patch.setattr("stackpin.host.drivers.docker.run", self.docker.run)
        patch.setattr("stackpin.host.waiting.CONTAINER_POLL", 0)

    def taken(self, port: int) -> bool:
        return port in self.foreign or any(
            f"PORT={port}" in item["env"]
            for item in self.docker.containers.values()
            if item["state"] == "running"
        )

    def check(
        self, stack: Stack, checks: Any, *, port: int | None, slot: str | None, **_: Any
    ) -> list[Any]:
        good = False
        for item in self.docker.containers.values():
            labels = item["labels"]
            if (labels.get("stackpin.stack"), labels.get("stackpin.slot")) == (stack.name, slot):
                good = item["state"] == "running" and labels["stackpin.release"] not in self.sick
                if slot == "rehearsal":
                    self.rehearsed.append(dict(row.split("=", 1) for row in item["env"]))
        shared = {"required": True, "weight": 1.0, "expected": "200", "got": "200 ok"}
        return [{"name": "health", "ok": good, **shared}]

    def call(self, command: str, stack: str = "infracore-console", **payload: Any) -> Any:
        return main.perform(command, stack, payload)

    def deploy(self, service: str, **more: Any) -> Stack:
        """Write what a deploy writes for one service."""
        name = f"{PROJECT}-{service}"
        document = {
            "stack": name, "kind": "compose", "user": "root", "opt": f"/opt/{name}",
            "data": f"/var/lib/rehearsals/{service}", "ports": PORTS[service], "gate": ZERO,
            "drain_seconds": 0, "start_timeout": 0.0, "database": DATABASE,
            "compose": {"project": PROJECT, "slot_service": service, "port": 80,
                        "host_network": True},
            "overlap": service != "orchestrator", **more,
        }  # fmt: skip
        path = self.root / "etc/stackpin" / name / "stack.json"
        (path.parent / "slots").mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))
        for slot, port in PORTS[service].items():
            (path.parent / "slots" / f"{slot}.env").write_text(f'PORT="{port}"\n')
        return Stack.load(name)

    def send(self, service: str, release: str, *, rehearsal: bool = True) -> str:
        image = f"reg/{service}:{release}@{digest(release)}"
        self.docker.images["id"] = {image, f"reg/{service}@{digest(release)}"}
        slots = {f"{service}-{slot}": {"image": image} for slot in ("blue", "green")}
        extra = {f"{service}-rehearsal": {"image": image, "profiles": ["rehearsal"]}}
        text = json.dumps({"services": slots | (extra if rehearsal else {})})
        about = {
            "id": release, "version": release, "images": {service: image},
            "artifact_sha256": hashlib.sha256(text.encode()).hexdigest(),
        }  # fmt: skip
        self.call("receive", f"{PROJECT}-{service}", release=about, env='A="a$b"\n', unit=text)
        return release

    def rollout(self, service: str, release: str, **more: Any) -> Any:
        self.send(service, release)
        return self.call("rollout", f"{PROJECT}-{service}", release=release, who="me", **more)

    def restart(self) -> None:
        super().restart()
        self.docker.restart()
