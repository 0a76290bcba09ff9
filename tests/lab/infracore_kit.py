"""InfraCore on one lab host: a short gate and guard, its pin, its users, what runs."""

from __future__ import annotations

import functools
import http.client
import json
import re
import time
from typing import Any, ClassVar, Self

from project import PYINFRA, REPOSITORY, STACKPIN, Project, Ran, flags
from stock_host import plain

from stackpin import lockfile
from stackpin.lab import Lab, LabHost
from stackpin.lab.apps.infracore.build import build

INVENTORY = "inventories/infra"
SERVICES = ("snap", "probe", "orchestrator", "console", "gate")  # in rollout order
PORTS = {"gate": 80, "console": 8082, "orchestrator": 9090, "probe": 8085, "snap": 8086}
GATE = {"settle": 0.2, "min_healthy": 1.5, "interval": 0.3, "consecutive": 2, "timeout": 15.0}
GUARD = 40
PASSWORD = "correct horse"
HOST_PROGRAM = "python3 /usr/local/lib/stackpin/host.pyz"


@functools.cache
def built() -> None:
    """Build the reference product once per session."""
    build(REPOSITORY / "artifacts" / "infracore")


class Infracore(Project):
    """One host with InfraCore, or about to get it."""

    DATA: ClassVar[dict[str, object]] = {
        "infracore_gate": GATE,
        "infracore_guard_seconds": GUARD,
        "infracore_drain_seconds": 3,
        "stackpin_lock_ttl": 10,
    }
    TIMEOUT: ClassVar[float] = 400

    @classmethod
    def make(cls, lab: Lab, host: LabHost, folder: Any) -> Self:
        built()
        return super().make(lab, host, folder)

    def argv(
        self, command: str, stack: str = "infracore", *words: str, **data: object
    ) -> list[str]:
        argv = [STACKPIN, *command.split(), INVENTORY, stack, "--limit", self.host.name]
        return [*argv, *words, *flags({**self.DATA, **data})]

    def deploy(self, *words: str, **data: object) -> Ran:
        return self.stackpin("deploy", "infracore", "--yes", "--wait-lock", "20", *words, **data)

    def update(self, version: str, *words: str, **data: object) -> Ran:
        words = ("--version", version, "--yes", "--wait-lock", "20", *words)
        return self.stackpin("update", "infracore", *words, **data)

    def pyinfra(self, **data: object) -> Ran:
        """Run stock pyinfra with the deploy file; no `stackpin` command is part of it."""
        argv = [PYINFRA, INVENTORY, "deploys/infracore.py", "--limit", self.host.name, "-y"]
        ran = self.program([*argv, *flags({**self.DATA, **data})])
        return Ran(ran.code, plain(ran.out), plain(ran.err))

    # --- the pin

    @property
    def pins(self) -> Any:
        return self.folder / "inventories/group_data/infra.py"

    def pinned(self) -> str:
        found = re.search(r'(?m)^infracore_version = "([^"]*)"', self.pins.read_text())
        assert found
        return found[1]

    def pin(self, version: str) -> None:
        pattern, text = r'(?m)^infracore_version = "[^"]*"', self.pins.read_text()
        self.pins.write_text(re.sub(pattern, f'infracore_version = "{version}"', text))

    # --- the product

    def ask(
        self, port: int, path: str, method: str = "GET", body: object = None, token: str = ""
    ) -> tuple[int, Any]:
        """Ask the host on loopback, through its own curl; return status and JSON or text."""
        words = [f"curl -s -o /dev/stdout -w '\\n%{{http_code}}' -X {method}"]
        if token:
            words.append(f"-H 'Authorization: Bearer {token}'")
        data = b""
        if body is not None:
            words.append("-H 'Content-Type: application/json' --data-binary @-")
            data = json.dumps(body).encode()
        text = self.on_host(" ".join([*words, f"http://127.0.0.1:{port}{path}"]), data)
        answer, _, status = text.rpartition("\n")
        try:
            return int(status), json.loads(answer)
        except ValueError:
            return int(status), answer

    def outside(self, path: str, port: int = 80) -> tuple[int, bytes]:
        """Ask the gate from this machine."""
        connection = http.client.HTTPConnection(self.host.address, port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def register(self, name: str) -> None:
        user = {"username": name, "email": f"{name}@example.net", "password": PASSWORD}
        status, said = self.ask(80, "/api/v1/auth/register", "POST", user)
        assert status == 201, said

    def login(self, name: str) -> tuple[int, Any]:
        user = {"username": name, "password": PASSWORD}
        return self.ask(80, "/api/v1/auth/login", "POST", user)

    def token(self, name: str) -> str:
        status, said = self.login(name)
        assert status == 200, said
        return str(said["token"])

    def signature(self, token: str) -> str:
        """What the product says of a token: "Session expired" is a good signature."""
        status, said = self.ask(80, "/api/v1/auth/me", token=token)
        assert status == 401, said
        return str(said["error"])

    def healthy(self) -> dict[str, Any]:
        """Return the health of the five public ports; all must be good."""
        found = {}
        for service, port in PORTS.items():
            api = service in {"gate", "console"}
            status, said = self.ask(port, "/api/v1/health" if api else "/health")
            assert (status, said["status"]) == (200, "healthy"), (service, status, said)
            found[service] = said
        return found

    # --- what runs

    def versions(self) -> dict[str, str]:
        """Version of the live release by part."""
        live = {}
        for part in ("files", *SERVICES):
            release = self.state(f"infracore-{part}")["live_release"]
            live[part] = str(release).rpartition("-")[0]
        return live

    def runs(self, version: str) -> None:
        assert self.versions() == dict.fromkeys(("files", *SERVICES), version)
        self.healthy()

    def settled(self) -> bool:
        """Whether no guard of any part is armed any more."""
        return not any(self.state(f"infracore-{part}")["pending"] for part in ("files", *SERVICES))

    def processes(self) -> dict[str, tuple[Any, Any]]:
        """(main pid, start) of the live slot by service."""
        found = {}
        for service in SERVICES:
            state = self.state(f"infracore-{service}")
            live = state["slots"][state["live_slot"]]
            found[service] = (live["main_pid"], live["started"])
        return found

    def hook(self, stage: str, text: str) -> None:
        path = self.folder / "hooks" / stage
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def unhook(self) -> None:
        for path in (self.folder / "hooks").glob("*"):
            path.unlink()

    def tree(self) -> str:
        """Every file of the host a deploy could touch, with its digest."""
        return self.on_host(
            "find /etc /opt /usr/local /srv /var/lib/infra-core /var/lib/stackpin /var/backups "
            "-xdev -type f -not -name '*.lock' -not -path '*/lock*' "
            "-exec sha256sum {} + 2>/dev/null | sort -k2"
        )

    def wait_for(self, what: Any, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, f"not within {seconds} s"
            time.sleep(0.5)


class Composed(Infracore):
    """The same from images, in mode compose."""

    DATA: ClassVar[dict[str, object]] = {**Infracore.DATA, "infracore_mode": "compose"}
    TIMEOUT: ClassVar[float] = 800
    VOLUME: ClassVar[str] = "/var/lib/docker/volumes/infracore_data/_data"

    @classmethod
    def on_box(cls, lab: Lab, folder: Any) -> Self:
        """Have a bare host with Docker, a registry with all versions, and nothing locked."""
        lab.up(names=["box"], docker=True)
        lab.registry.start()
        lab.registry.push(("infracore",))
        made = cls.make(lab, lab.reset("box"), folder)
        made.lock_path.unlink(missing_ok=True)
        return made

    @property
    def lock_path(self) -> Any:
        return self.folder / "inventories/infra.lock.toml"

    def lock_digests(self, version: str) -> None:
        """Pin `version` and write the digests of its images; no host is touched."""
        argv = [STACKPIN, "pin", INVENTORY, "infracore", "--version", version]
        data = {"infracore_mode": "compose"}
        self.program([*argv, "--allow-downgrade", *flags(data)]).exits(0)

    def locked(self, version: str) -> dict[str, str]:
        """Digest by service, as the lock file has it."""
        found = lockfile.read(self.lock_path).version("infracore", version)
        assert found, f"nothing is locked for {version}"
        names = {ref.rpartition("/infracore-")[2].partition(":")[0]: ref for ref in found.images}
        return {name: found.images[ref] for name, ref in names.items()}

    def containers(self) -> dict[str, dict[str, Any]]:
        """What docker tells of each service's running container; one each."""
        ask = "docker ps -q --filter label=com.docker.compose.project=infracore"
        told = json.loads(self.on_host(f"docker inspect $({ask})"))
        found = {one["Config"]["Labels"]["stackpin.service"]: one for one in told}
        assert (len(told), set(found)) == (len(SERVICES), set(SERVICES)), list(found)
        return found

    def ids(self) -> dict[str, str]:
        return {service: one["Id"] for service, one in self.containers().items()}

    def runs(self, version: str) -> None:
        """Assert that all five serve, and are made of exactly the locked digests of `version`."""
        super().runs(version)
        images = {name: one["Config"]["Image"] for name, one in self.containers().items()}
        assert {name: image.rpartition("@")[2] for name, image in images.items()} == self.locked(
            version
        )
