"""The only place that runs `docker`, and what it tells about containers.

Containers are found by our labels alone; a name may be anybody's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stackpin.host.errors import HostError, failed
from stackpin.host.stack import Stack
from stackpin.host.system import Result, run

__all__ = [
    "CONFIG",
    "LABELS",
    "Container",
    "by_id",
    "by_name",
    "containers",
    "digest_of",
    "docker",
    "image",
    "of_slot",
    "plain",
]

CONFIG = "/etc/stackpin/docker"
LABELS = {key: f"stackpin.{key}" for key in ("stack", "slot", "release", "spec")}
_DOWN = ("cannot connect to the docker daemon", "is the docker daemon running", "docker.sock")
_COMPOSE_SERVICE = "com.docker.compose.service"


@dataclass(frozen=True)
class Container:
    """One container. image: the reference it was made from; digest: "sha256:..." of it, or null.

    state: docker's word (created, running, restarting, exited, paused, dead). started: ISO 8601
    UTC to the second. env holds secrets: never print it. networks: {network: address}.
    """

    id: str
    name: str
    image: str
    image_id: str
    state: str
    exit_code: int
    restarts: int
    pid: int | None
    started: str | None
    created: str
    health: str | None
    policy: str
    labels: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict, repr=False)
    networks: dict[str, str] = field(default_factory=dict)
    error: str = ""

    @property
    def slot(self) -> str | None:
        """Our slot label."""
        return self.labels.get(LABELS["slot"])

    @property
    def release(self) -> str | None:
        """Our release label."""
        return self.labels.get(LABELS["release"])

    @property
    def spec(self) -> str | None:
        """Our spec label: sha256 of everything the container was made from."""
        return self.labels.get(LABELS["spec"])

    @property
    def service(self) -> str | None:
        """The compose service it belongs to."""
        return self.labels.get(_COMPOSE_SERVICE)

    @property
    def digest(self) -> str | None:
        """The digest in the reference it was made from."""
        return digest_of(self.image)

    def shown(self) -> dict[str, Any]:
        """Return it as `show` of a driver does."""
        active = {"running": "active", "restarting": "activating", "created": "inactive"}
        result = "ok" if self.state == "running" else f"exit {self.exit_code}"
        if self.error:
            result += f" ({self.error})"
        return {
            "active": active.get(self.state, "inactive" if self.exit_code == 0 else "failed"),
            "sub": "auto-restart" if self.state == "restarting" else self.state,
            "main_pid": self.pid,
            "started": self.started,
            "restarts": self.restarts,
            "result": result,
            "job": None,
            "id": self.id,
            "name": self.name,
            "image": self.image,
            "digest": self.digest,
            "health": self.health,
            "release": self.release,
            "spec": self.spec,
        }


def docker(
    *argv: str,
    timeout: float = 30.0,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    config: str = CONFIG,
    data: str | None = None,
) -> Result:
    """Run `docker argv...`; timeout in seconds, config: its DOCKER_CONFIG, data: standard input.

    Never give a secret in argv. Raises HostError(error): no docker, a daemon that is down or does
    not answer in time, or (check) a failed command.
    """
    words = ["docker", *argv]
    try:
        environment = {"DOCKER_CONFIG": config, **(env or {})}
        answer = run(words, data, timeout, check=False, env=environment, bound=True)
    except HostError as error:
        if "no answer within" in error.message:
            raise failed(
                f"docker {argv[0]}: no answer within {timeout:g} s; the daemon hangs or the disk "
                "is slow: see `systemctl status docker` and `journalctl -u docker`"
            ) from error
        raise
    if not answer.ok:
        told = answer.err.strip() or answer.out.strip()
        if any(part in told.lower() for part in _DOWN):
            raise failed(
                "docker: the daemon does not answer on this host; expected it to run: "
                f"`systemctl start docker` ({told.splitlines()[0][:200]})"
            )
        if check:
            lines = [line for line in told.splitlines() if "--help" not in line and line.strip()]
            told = lines[-1] if lines else f"exit status {answer.code}"
            raise failed(f"docker {argv[0]}: {told[:500]}", code=answer.code)
    return answer


def containers(stack: Stack, slot: str | None = None) -> list[Container]:
    """Return the stack's containers, running or not, newest first; slot: only that one's."""
    filters = [f"--filter=label={LABELS['stack']}={stack.name}"]
    if slot is not None:
        filters.append(f"--filter=label={LABELS['slot']}={slot}")
    names = docker("ps", "--all", "--quiet", "--no-trunc", *filters).out.split()
    found = [_read(item) for item in _inspect("container", names)]
    return sorted(found, key=lambda item: item.created, reverse=True)


def of_slot(stack: Stack, slot: str) -> Container | None:
    """Return the container of a slot: the newest, should a killed run have left two."""
    found = containers(stack, slot)
    return found[0] if found else None


def by_name(name: str) -> Container | None:
    """Return the container that has a name, whoever made it."""
    found = [_read(item) for item in _inspect("container", [name])]
    return next((item for item in found if item.name == name), None)


def by_id(number: str) -> list[Container]:
    """Return the container with an id, as a list of one or none."""
    return [_read(item) for item in _inspect("container", [number])]


def image(reference: str) -> dict[str, Any] | None:
    """Return {id, digests: ["repo@sha256:..."], tags, size} of a local image, None if absent."""
    found = _inspect("image", [reference])
    if not found:
        return None
    item = found[0]
    return {
        "id": str(item.get("Id")),
        "digests": list(item.get("RepoDigests") or ()),
        "tags": list(item.get("RepoTags") or ()),
        "size": int(item.get("Size") or 0),
    }


def digest_of(reference: str) -> str | None:
    """Return "sha256:..." of a reference that names one."""
    _, found, digest = reference.partition("@")
    return digest if found else None


def plain(reference: str) -> str:
    """Return a reference without its digest: repo:tag."""
    return reference.partition("@")[0]


def _inspect(kind: str, names: list[str]) -> list[dict[str, Any]]:
    """Return what is known of those names; what went away meanwhile is left out."""
    if not names:
        return []
    answer = docker(kind, "inspect", *names, check=False)
    try:
        value = json.loads(answer.out or "[]")
    except ValueError as error:
        raise failed(f"docker {kind} inspect: answer is not JSON ({error})") from error
    return [item for item in value if isinstance(item, dict)]


def _read(item: dict[str, Any]) -> Container:
    state, config = item.get("State") or {}, item.get("Config") or {}
    networks = (item.get("NetworkSettings") or {}).get("Networks") or {}
    pairs = (str(pair).partition("=") for pair in config.get("Env") or ())
    policy = (item.get("HostConfig") or {}).get("RestartPolicy") or {}
    health = (state.get("Health") or {}).get("Status")
    return Container(
        id=str(item.get("Id")),
        name=str(item.get("Name", "")).lstrip("/"),
        image=str(config.get("Image", "")),
        image_id=str(item.get("Image", "")),
        state=str(state.get("Status", "dead")),
        exit_code=int(state.get("ExitCode") or 0),
        restarts=int(item.get("RestartCount") or 0),
        pid=int(state.get("Pid") or 0) or None,
        started=_seconds(state.get("StartedAt")),
        created=str(item.get("Created", "")),
        health=None if health in (None, "none") else str(health),
        policy=str(policy.get("Name") or "no"),
        labels={str(k): str(v) for k, v in (config.get("Labels") or {}).items()},
        env={name: value for name, _, value in pairs},
        networks={
            str(name): str(net.get("IPAddress"))
            for name, net in networks.items()
            if net.get("IPAddress")
        },
        error=str(state.get("Error") or ""),
    )


def _seconds(text: object) -> str | None:
    """Cut docker's nanoseconds; a container that never started says year 1."""
    value = str(text or "")
    if len(value) < 19 or value.startswith("0001-"):
        return None
    return value[:19] + "Z"
