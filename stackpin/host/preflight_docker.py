"""What a host must offer to a stack of images: docker, room for images, a registry that answers."""

from __future__ import annotations

import http.client
import shutil
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from stackpin.host.drivers.docker import LABELS, by_name, docker
from stackpin.host.errors import HostError
from stackpin.host.pg_login import login
from stackpin.host.stack import Stack

__all__ = ["Answer", "look"]

MIB = 1024 * 1024
TIMES = 3  # compressed layers, unpacked ones, and the image before it
TIMEOUT = 8.0  # seconds for the registry
HUB = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}
LOOPBACK = ("localhost", "127.0.0.1")
ROOT = Path("/var/lib/docker")


class Answer(NamedTuple):
    """One question as `preflight.Item` takes it: severity fail stops the deploy, warn does not."""

    name: str
    ok: bool
    measured: str
    expected: str
    remedy: str = ""
    severity: str = "fail"


def look(stack: Stack, needs: Mapping[str, Any]) -> Iterator[Answer]:
    """Ask about needs.docker (bool), .image_bytes (compressed), .registry ({host, ca: PEM?}).

    About .container, a name that must be free or ours, where docker answers. And about
    needs.postgres ({image, host, port, name, user, password}), a database elsewhere.
    """
    if needs.get("docker"):
        daemon = _daemon()
        yield daemon
        if daemon.ok and needs.get("container"):
            yield _name(stack, str(needs["container"]))
    if needs.get("image_bytes"):
        yield _room(stack, int(needs["image_bytes"]))
    if needs.get("registry"):
        yield _registry(needs["registry"])
    if needs.get("postgres"):
        yield _database(stack, needs["postgres"])


def _daemon() -> Answer:
    if shutil.which("docker", path="/usr/local/bin:/usr/bin:/usr/sbin") is None:
        # The deploy installs it, on this very host.
        return Answer("docker", False, "absent", "docker", "The deploy installs it.", "warn")
    try:
        version = docker("version", "--format", "{{.Server.Version}}", timeout=15).out.strip()
    except HostError as error:
        return Answer("docker", False, error.message, "a daemon that answers", "Start docker.")
    return Answer("docker", True, version, "a daemon that answers")


def _name(stack: Stack, name: str) -> Answer:
    held = by_name(name)
    foreign = held is not None and held.labels.get(LABELS["stack"]) != stack.name
    measured = "free or our own"
    if held is not None and foreign:
        measured = f"{held.image}, id {held.id[:12]}, which was not made by Stackpin"
    remedy = f"Look at it, then `docker rm --force {name}` on that host."
    return Answer(f"container {name}", not foreign, measured, f"free, or of {stack.name}", remedy)


def _room(stack: Stack, image_bytes: int) -> Answer:
    path = stack.at(ROOT)
    while not path.exists():
        path = path.parent
    free, need = shutil.disk_usage(path).free // MIB, -(-TIMES * image_bytes // MIB)
    remedy = f"Make room on the file system of {ROOT} (`docker system df`)."
    return Answer("disk for images", free >= need, f"{free} MiB free", f"{need} MiB free", remedy)


def _registry(registry: Mapping[str, Any]) -> Answer:
    name = str(registry.get("host") or "docker.io")
    expected = "an answer of /v2/ over TLS"
    try:
        status = _status(HUB.get(name, name), registry.get("ca"))
    except ssl.SSLError as error:
        remedy = "Give the registry's CA (xingrin_registry_ca)."
        return Answer(f"registry {name}", False, f"TLS: {error}", expected, remedy)
    except (OSError, http.client.HTTPException) as error:
        remedy = f"See that {name} runs and that this host reaches it."
        return Answer(f"registry {name}", False, str(error), expected, remedy)
    # 401 is how a registry that wants a login says it is there.
    ok = status in (200, 401)
    remedy = "Look at the registry's log."
    return Answer(f"registry {name}", ok, f"status {status}", expected, remedy)


def _database(stack: Stack, needs: Mapping[str, Any]) -> Answer:  # noqa: ARG001 (all look alike)
    """Log in as the application will; no image needs to be here for that."""
    host, port = str(needs["host"]), int(needs["port"])
    place, expected = f"{needs.get('user')}@{host}:{port}", "a login"
    remedy = "Check xingrin_db_host, _db_port, _db_name, _db_user and _db_password."
    name, user, password = (str(needs.get(key) or "") for key in ("name", "user", "password"))
    problem = login(host, port, name, user, password)
    measured = problem or f"logged in as {place}"
    return Answer("database login", problem is None, measured, expected, remedy)


def _status(host: str, ca: str | None) -> int:
    bare = host.partition(":")[0]
    connection: http.client.HTTPConnection
    if bare in LOOPBACK:
        connection = http.client.HTTPConnection(host, timeout=TIMEOUT)
    else:
        context = ssl.create_default_context(cadata=ca or None)
        connection = http.client.HTTPSConnection(host, timeout=TIMEOUT, context=context)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status
    finally:
        connection.close()
