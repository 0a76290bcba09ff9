"""Compose services on the host's network: two stacks in one project, on a real docker."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from stackpin.lab import Lab
from tests.lab.container_kit import REPOSITORY, FailedError, Node

PORTS = {
    "web": {"blue": 18282, "green": 18283, "rehearsal": 18284},
    "work": {"blue": 9090, "green": 9090, "rehearsal": 18290},  # one at a time
}
DATA = "/var/lib/shared"
NOBODY = "65534:65534"
# One row for every start, so that whoever opened the live database can be seen in it.
SERVER = r"""
import http.server, json, os, sqlite3
version, port = os.environ["VERSION"], int(os.environ["PORT"])
db = sqlite3.connect(os.environ["DB_PATH"])
db.execute("create table if not exists starts (version text, port int)")
db.execute("insert into starts values (?, ?)", (version, port))
db.commit()
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(500 if version == "v1.2.0" else 200)
        self.end_headers()
        self.wfile.write(json.dumps({"version": version}).encode())
http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer).serve_forever()
"""
VERSIONS = ("v1.1.0", "v1.2.0", "v1.3.0")


class Services(Node):
    """A host of the two services; their images hold nothing, the program is the host's python."""

    def prepare(self) -> None:
        self.install()
        for version in VERSIONS:
            self.publish(version, version)
        self.sh("mkdir -p /srv/app && cat > /srv/app/server.py", SERVER.encode())
        self.sh(f"mkdir -p {DATA} && chown {NOBODY} {DATA} && chmod 750 {DATA}")
        for name, ports in PORTS.items():
            self.settings(name, ports)

    def settings(self, name: str, ports: dict[str, int]) -> None:
        document = {
            "stack": name, "kind": "compose", "user": "nobody", "opt": f"/opt/{name}",
            "data": f"/var/lib/rehearsals/{name}", "ports": ports, "overlap": name == "web",
            "database": f"{DATA}/app.db", "guard_seconds": 20, "start_timeout": 20,
            "drain_seconds": 1,
            "gate": {"settle": 0.1, "min_healthy": 0.5, "interval": 0.2, "consecutive": 2,
                     "timeout": 8.0},
            "compose": {"project": "app", "slot_service": name, "port": 80, "host_network": True},
            "checks": [{"kind": "http", "name": "health", "where": "slot",
                        "url": "http://127.0.0.1:{port}/"},
                       {"kind": "container", "name": "runs", "where": "host", "of": name}],
        }  # fmt: skip
        place = f"/etc/stackpin/{name}"
        self.sh(
            f"umask 077; mkdir -p {place}/slots; cat > {place}/stack.json",
            json.dumps(document).encode(),
        )
        for slot, port in ports.items():
            home = f"/var/lib/rehearsals/{name}/rehearsal" if slot == "rehearsal" else DATA
            text = f'PORT="{port}"\nDB_PATH="{home}/app.db"\n'
            self.sh(f"umask 077; cat > {place}/slots/{slot}.env", text.encode())

    def send(self, name: str, version: str, home: str | None = None) -> str:
        """Send a release; home: what its rehearsal may write, the copies if not given."""
        ref = f"{REPOSITORY}:{version}@{self.digests[version]}"
        home = home or f"/var/lib/rehearsals/{name}/rehearsal"
        slots = {
            f"{name}-{slot}": {
                "image": ref, "profiles": [slot], "network_mode": "host", "user": NOBODY,
                "read_only": True, "init": True, "cap_drop": ["ALL"],
                "security_opt": ["no-new-privileges:true"],
                "command": ["/usr/bin/python3", "/srv/app/server.py"],
                "volumes": ["/usr:/usr:ro", "/usr/lib:/lib:ro", "/usr/lib64:/lib64:ro",
                            "/srv/app:/srv/app:ro",
                            f"{home}:{home}" if slot == "rehearsal" else f"{DATA}:{DATA}"],
            }
            for slot in ("blue", "green", "rehearsal")
        }  # fmt: skip
        text = json.dumps({"services": slots})
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        release = f"{version}-{sha256[:8]}"
        about = {
            "id": release, "version": version, "images": {name: ref}, "artifact_sha256": sha256,
        }  # fmt: skip
        self.call("receive", name, release=about, env=f'VERSION="{version}"\n', unit=text)
        return release

    def deploy(self, name: str, version: str, **more: Any) -> dict[str, Any]:
        return self.call("rollout", name, release=self.send(name, version), who="test", **more)

    def states(self) -> dict[str, tuple[str, str, str]]:
        found = self.containers().items()
        return {name.removeprefix("app-"): row for name, row in found if name.startswith("app-")}

    def starts(self) -> list[str]:
        """List who opened the live database, as "version port"."""
        told = self.sh(f"sqlite3 -separator ' ' {DATA}/app.db 'select * from starts'")  # noqa: S608
        return told.splitlines()

    def codes(self, name: str) -> list[str]:
        return [item["code"] for item in self.call("inspect", name)["findings"]]


@pytest.fixture(scope="module")
def node(lab: Lab) -> Iterator[Services]:
    lab.up(names=["box"], docker=True)
    one = Services(lab, lab.reset("box"))
    one.prepare()
    yield one
    lab.down(["box"])


def test_two_stacks_switch_in_one_project(node: Services) -> None:
    first = node.deploy("web", "v1.1.0")
    assert first["stages"]["rehearse"]["gate"]["passed"]
    node.deploy("work", "v1.1.0")
    work = node.sh("docker inspect -f '{{.Id}} {{.State.StartedAt}}' app-work-blue-1")
    done = node.deploy("web", "v1.3.0")
    assert done["slot"] == "green" and done["stages"]["rehearse"]["copied"]["database"]

    assert node.states() == {
        "web-green-1": ("running", "always", "v1.3.0"),
        "work-blue-1": ("running", "always", "v1.1.0"),
    }
    assert work == node.sh("docker inspect -f '{{.Id}} {{.State.StartedAt}}' app-work-blue-1")
    assert node.codes("web") == node.codes("work") == []
    assert node.deploy("web", "v1.3.0")["changed"] is False
    assert node.starts() == ["v1.1.0 18282", "v1.1.0 9090", "v1.3.0 18283"]


def test_a_bad_version_fails_on_the_copy(node: Services) -> None:
    before = node.starts(), node.states()
    with pytest.raises(FailedError, match="serves and is healthy") as caught:
        node.deploy("web", "v1.2.0")
    assert (caught.value.code, caught.value.error["detail"]["stage"]) == (4, "rehearse")
    assert (node.starts(), node.states()) == before
    assert node.sh("ls -A /var/lib/rehearsals/web/rehearsal") == ""
    assert node.sh("stat -c %a /var/lib/rehearsals/web").endswith("0")


def test_a_rehearsal_on_live_data_is_refused(node: Services) -> None:
    before = node.starts()
    release = node.send("web", "v1.1.0", home=DATA)
    with pytest.raises(FailedError, match="where the live database is"):
        node.call("rollout", "web", release=release)
    assert node.starts() == before and "web-rehearsal-1" not in node.states()


def test_one_at_a_time_shares_its_port_and_comes_back(node: Services) -> None:
    done = node.deploy("work", "v1.3.0")
    assert 0 < done["stages"]["start"]["gap"] < 15
    assert node.states()["work-green-1"] == ("running", "always", "v1.3.0")
    with pytest.raises(FailedError, match="serves and is healthy"):
        node.deploy("work", "v1.2.0", rehearse=False)
    assert node.states()["work-green-1"] == ("running", "always", "v1.3.0")
    assert "work-blue-1" not in node.states()


def test_stop_start_and_a_restart_of_the_host(node: Services) -> None:
    node.call("service", "work", action="stop")
    assert node.states()["work-green-1"][:2] == ("exited", "no")
    node.call("service", "work", action="start")
    before = node.states()
    node.lab.reboot("box")
    for name in PORTS:
        node.call("boot", name)
    assert node.states() == before
    assert all(node.call("verify", name)["passed"] for name in PORTS)


def test_strangers_in_the_project_are_drift_and_refused(node: Services) -> None:
    image = f"{REPOSITORY}:v1.1.0@{node.digests['v1.1.0']}"
    node.serve_images()
    node.sh(f"docker pull -q {image}; docker tag {image} lab/watchtower:1")
    socket = "-v /var/run/docker.sock:/var/run/docker.sock"
    node.sh(f"docker create --name updater {socket} lab/watchtower:1 x")
    label = "--label com.docker.compose.project=app --label com.docker.compose.service=odd"
    node.sh(f"docker create --name stranger {label} {image} x")
    assert node.codes("web") == ["container-unmanaged", "auto-updater"]
    with pytest.raises(FailedError, match="stranger, not made by Stackpin"):
        node.deploy("web", "v1.1.0")
    node.sh("docker rm updater stranger")
    assert node.codes("web") == []
