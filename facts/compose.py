"""Services of a Docker Compose project as they really run."""

# ruff: noqa: D102 - what default, command and process do is told once, by pyinfra
from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Any

from pyinfra.api.facts import FactBase


@dataclass(frozen=True)
class Service:
    """One container of a project; `digest` is of the image reference it was made from, or ""."""

    container: str
    image: str
    digest: str
    state: str  # running, exited, restarting...
    health: str  # healthy, unhealthy, starting, or "" without a health check
    restarts: int
    config_hash: str  # of what compose made it from
    slot: str
    release: str


class ComposeServices(FactBase[dict[str, Service]]):
    """Service name -> Service of `project`, in one go; {} without docker or such a project.

    Of a service with several containers the one that runs counts.
    """

    @staticmethod
    def default() -> dict[str, Service]:
        return {}

    def command(self, project: str) -> str:
        label = shlex.quote(f"label=com.docker.compose.project={project}")
        return (
            f"docker ps -aq --no-trunc --filter {label} 2>/dev/null"
            " | xargs -r docker inspect --format '{{json .}}' 2>/dev/null || true"
        )

    def process(self, output: list[str]) -> dict[str, Service]:
        found: dict[str, Service] = {}
        for line in output:
            if not line.startswith("{"):
                continue
            data: dict[str, Any] = json.loads(line)
            labels = data["Config"].get("Labels") or {}
            name = labels.get("com.docker.compose.service")
            if not name or labels.get("com.docker.compose.oneoff") == "True":
                continue
            service = _service(data, labels)
            if name not in found or service.state == "running":
                found[name] = service
        return dict(sorted(found.items()))


def _service(data: dict[str, Any], labels: dict[str, str]) -> Service:
    image = str(data["Config"].get("Image") or "")
    state = data["State"]
    return Service(
        container=str(data["Name"]).lstrip("/"),
        image=image,
        digest=image.partition("@")[2],
        state=str(state.get("Status")),
        health=str((state.get("Health") or {}).get("Status") or ""),
        restarts=int(data.get("RestartCount") or 0),
        config_hash=str(labels.get("com.docker.compose.config-hash") or ""),
        slot=str(labels.get("stackpin.slot") or ""),
        release=str(labels.get("stackpin.release") or ""),
    )
