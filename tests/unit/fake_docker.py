"""A pretended docker: containers and images in dictionaries, every change one step of the host."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from stackpin.host import main
from stackpin.host.stack import Stack
from stackpin.host.system import Result
from tests.unit.host_core_fakes import Host

STACK = "xingrin-worker"
NAME = "xingrin-agent"
ZERO = {"settle": 0, "min_healthy": 0, "interval": 0, "consecutive": 1, "timeout": 0}


def digest(version: str) -> str:
    return "sha256:" + hashlib.sha256(version.encode()).hexdigest()


class Docker:
    """Answers as `docker` does; `step` is called before each change."""

    def __init__(self, step: Callable[[], None]) -> None:
        self.step = step
        self.containers: dict[str, dict[str, Any]] = {}
        self.images: dict[str, set[str]] = {}  # id: names
        self.registry: dict[str, str] = {}  # repo@digest: id
        self.crashing: set[str] = set()  # ids of images
        self.down = ""
        self.born = 0
        self.inputs: list[str] = []
        self.calls: list[list[str]] = []

    def run(self, argv: list[str], data: Any = None, *_: Any, **__: Any) -> Result:
        if argv[0] != "docker":
            raise AssertionError(argv)
        self.calls.append(argv)
        if self.down:
            return Result(1, "", self.down)
        words = argv[1:]
        if data:
            self.inputs.append(data)
        if words[0] == "version":
            return Result(0, "26.1.5", "")
        if words[0] in ("ps", "container", "image", "info", "logs"):
            name = words[0] if words[0] in ("ps", "info", "logs") else "_".join(words[:2])
            return getattr(self, name)(words)  # type: ignore[no-any-return]
        self.step()
        try:
            return getattr(self, words[0])(words, data)  # type: ignore[no-any-return]
        except KeyError as error:
            return Result(1, "", f"Error response from daemon: No such container: {error}")

    def ps(self, words: list[str]) -> Result:
        wanted = [w.partition("label=")[2].split("=") for w in words if "label=" in w]
        found = [
            key
            for key, item in self.containers.items()
            if all(item["labels"].get(name) == value for name, value in wanted)
        ]
        return Result(0, "\n".join(found), "")

    def container_inspect(self, words: list[str]) -> Result:
        found = [k for k in map(self.find, words[2:]) if k]
        return Result(0, json.dumps([self.shown(key) for key in found]), "")

    def find(self, name: str) -> str | None:
        if name in self.containers:
            return name
        return next((k for k, item in self.containers.items() if item["name"] == name), None)

    def shown(self, key: str) -> dict[str, Any]:
        item = self.containers[key]
        return {
            "Id": key, "Name": "/" + item["name"], "Image": item["image_id"],
            "RestartCount": item["restarts"], "Created": item["created"],
            "State": {"Status": item["state"], "ExitCode": item["exit"], "Pid": item["pid"],
                      "StartedAt": "2026-01-01T00:00:00.1Z"},
            "Config": {"Image": item["image"], "Labels": item["labels"], "Env": item["env"]},
            "HostConfig": {"RestartPolicy": {"Name": item["policy"]}},
        }  # fmt: skip

    def image_inspect(self, words: list[str]) -> Result:
        found = next((key for key, names in self.images.items() if words[2] in names), None)
        if found is None:
            return Result(1, "[]", "No such image")
        return Result(0, json.dumps([{"Id": found, "RepoTags": [], "RepoDigests": []}]), "")

    def image_rm(self, words: list[str]) -> Result:
        self.step()
        for key, names in list(self.images.items()):
            names.discard(words[2])
            if not names:
                del self.images[key]
        return Result(0, "", "")

    def info(self, words: list[str]) -> Result:
        return Result(0, "/", "")

    def logs(self, words: list[str]) -> Result:
        return Result(0, "2026-01-01T00:00:01Z out\n", "2026-01-01T00:00:00Z err\n")

    def pull(self, words: list[str], _: Any) -> Result:
        if words[-1] not in self.registry:
            return Result(1, "", "Error response from daemon: manifest unknown")
        self.images.setdefault(self.registry[words[-1]], set()).add(words[-1])
        return Result(0, "", "")

    def tag(self, words: list[str], _: Any) -> Result:
        key = next(key for key, names in self.images.items() if words[1] in names)
        for names in self.images.values():
            names.discard(words[2])
        self.images[key].add(words[2])
        return Result(0, "", "")

    def create(self, words: list[str], data: Any) -> Result:
        given = dict(itertools.pairwise(words))
        if self.find(given["--name"]):
            return Result(1, "", f"Conflict. The container name {given['--name']} is in use")
        labels = dict(v.split("=", 1) for k, v in itertools.pairwise(words) if k == "--label")
        image = next(w for w in words if "@sha256:" in w)
        self.born += 1
        self.containers[f"c{self.born:04}"] = {
            "name": given["--name"], "labels": labels, "image": image, "state": "created",
            "env": str(data).splitlines(), "policy": given["--restart"], "exit": 0, "pid": 0,
            "restarts": 0, "created": f"{self.born:04}",
            "image_id": self.registry[image.partition(":")[0] + "@" + image.partition("@")[2]],
        }  # fmt: skip
        return Result(0, "", "")

    def start(self, words: list[str], _: Any) -> Result:
        item = self.containers[self.find(words[1]) or words[1]]
        crash = item["image_id"] in self.crashing
        item.update(state="exited" if crash else "running", exit=3 if crash else 0, pid=7)
        return Result(0, "", "")

    def stop(self, words: list[str], _: Any) -> Result:
        self.containers[words[-1]].update(state="exited", exit=0, pid=0)
        return Result(0, "", "")

    kill = stop

    def rename(self, words: list[str], _: Any) -> Result:
        if self.find(words[2]):
            return Result(1, "", f"Conflict. The container name {words[2]} is in use")
        self.containers[words[1]]["name"] = words[2]
        return Result(0, "", "")

    def update(self, words: list[str], _: Any) -> Result:
        self.containers[words[-1]]["policy"] = words[1].partition("=")[2]
        return Result(0, "", "")

    def rm(self, words: list[str], _: Any) -> Result:
        del self.containers[words[-1]]
        return Result(0, "", "")

    def restart(self) -> None:
        """Start the host again: docker brings back what it was told to."""
        for item in self.containers.values():
            up = item["policy"] == "always"
            item.update(state="running" if up else "exited", pid=7 if up else 0)

    def now(self) -> dict[str, tuple[str, str, str]]:
        """Return {name: (state, policy, tag)}."""
        return {
            item["name"]: (
                item["state"],
                item["policy"],
                item["image"].partition("@")[0].rpartition(":")[2],
            )
            for item in self.containers.values()
        }


class DockerHost(Host):
    """A host of a worker: its slots are containers of a pretended docker."""

    def __init__(self, root: Any, patch: pytest.MonkeyPatch) -> None:
        super().__init__(root, patch)
        self.docker = Docker(self.step)
        patch.setattr("stackpin.host.drivers.docker.run", self.docker.run)
        patch.setattr("stackpin.host.waiting.CONTAINER_POLL", 0)

    def call(self, command: str, stack: str = STACK, **payload: Any) -> dict[str, Any]:
        return main.perform(command, stack, payload)

    def install(self, **more: Any) -> Stack:
        document = {
            "stack": STACK, "kind": "container", "user": "root", "opt": f"/opt/{STACK}",
            "data": f"/var/lib/{STACK}", "container": {"name": NAME}, "gate": ZERO,
            "env_files": [f"/etc/stackpin/{STACK}/node.env"], "drain_seconds": 0,
            "start_timeout": 0.0, **more,
        }  # fmt: skip
        path = self.root / "etc/stackpin" / STACK / "stack.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))
        self.worker_id(7)
        return Stack.load(STACK)

    def worker_id(self, number: int) -> None:
        (self.root / "etc/stackpin" / STACK / "node.env").write_text(f'WORKER_ID="{number}"\n')

    def receive(self, release: str) -> str:
        name = f"reg/agent@{digest(release)}"
        self.docker.registry[name] = f"id-{release}"
        ref = f"reg/agent:{release}@{digest(release)}"
        text = json.dumps({"name": NAME, "image": ref, "restart": "always", "volumes": ["/a:/b"]})
        about = {
            "id": release, "version": release, "images": {"agent": ref},
            "artifact_sha256": hashlib.sha256(text.encode()).hexdigest(),
        }  # fmt: skip
        self.call("receive", release=about, env="IMAGE_TAG=x\nTOKEN=s3cret\n", unit=text)
        return release

    def restart(self) -> None:
        super().restart()
        self.docker.restart()

    def only(self, release: str) -> bool:
        """Whether one container is all there is: this release's, by its declared name."""
        return self.docker.now() == {NAME: ("running", "always", release)}
