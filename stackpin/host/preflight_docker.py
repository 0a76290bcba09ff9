"""What a host must offer to a stack of images: docker, room for images, a registry that answers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stackpin.host.drivers.compose_services import PROJECT_LABEL
from stackpin.host.drivers.docker import LABELS, by_name, docker
from stackpin.host.errors import HostError
from stackpin.host.pg_login import login
from stackpin.host.preflight_item import Item
from stackpin.host.preflight_network import registry
from stackpin.host.stack import Stack

__all__ = ["engine", "look"]

MIB = 1024 * 1024
TIMES = 3  # compressed layers, unpacked ones, and the image before it
ROOT = Path("/var/lib/docker")


def engine(stack: Stack, needs: Mapping[str, Any]) -> Iterator[Item]:
    """Ask about needs.docker (bool), .project (of Compose) and .image_bytes (compressed)."""
    if needs.get("docker"):
        yield (daemon := _daemon())
        if needs.get("project") and daemon.ok:
            yield _project(str(needs["project"]))
    if needs.get("image_bytes"):
        yield _room(stack, int(needs["image_bytes"]))


def look(stack: Stack, needs: Mapping[str, Any]) -> Iterator[Item]:
    """Ask about needs.container, a name that must be free or ours, where docker answers.

    About .registry ({host, ca: PEM?}), and .postgres ({image, host, port, name, user, password}),
    a database elsewhere.
    """
    if needs.get("docker") and needs.get("container") and _daemon().ok:
        yield _name(stack, str(needs["container"]))
    if needs.get("registry"):
        yield registry(needs["registry"])
    if needs.get("postgres"):
        yield _database(stack, needs["postgres"])


def _daemon() -> Item:
    if shutil.which("docker", path="/usr/local/bin:/usr/bin:/usr/sbin") is None:
        # The deploy installs it, on this very host.
        return Item("docker", False, "absent", "docker", "The deploy installs it.", "warn")
    try:
        version = docker("version", "--format", "{{.Server.Version}}", timeout=15).out.strip()
    except HostError as error:
        return Item("docker", False, error.message, "a daemon that answers", "Start docker.")
    return Item("docker", True, version, "a daemon that answers")


def _name(stack: Stack, name: str) -> Item:
    held = by_name(name)
    foreign = held is not None and held.labels.get(LABELS["stack"]) != stack.name
    measured = "free or our own"
    if held is not None and foreign:
        measured = f"{held.image}, id {held.id[:12]}, which was not made by Stackpin"
    remedy = f"Look at it, then `docker rm --force {name}` on that host."
    return Item(f"container {name}", not foreign, measured, f"free, or of {stack.name}", remedy)


def _project(project: str) -> Item:
    """Look for containers that compose would take for its own and replace."""
    label = f"--filter=label={PROJECT_LABEL}={project}"
    row = '{{.Names}}\t{{.Label "' + LABELS["stack"] + '"}}'
    rows = docker("ps", "--all", label, f"--format={row}").out.splitlines()
    others = [name for name, _, stack in (line.partition("\t") for line in rows) if not stack]
    measured = f"{', '.join(others)}, not made by Stackpin" if others else "nobody else's"
    remedy = "Save what is in them and remove them, or give the stack another project name."
    return Item(f"compose project {project}", not others, measured, "no foreign one", remedy)


def _room(stack: Stack, image_bytes: int) -> Item:
    path = stack.at(ROOT)
    while not path.exists():
        path = path.parent
    free, need = shutil.disk_usage(path).free // MIB, -(-TIMES * image_bytes // MIB)
    remedy = f"Make room on the file system of {ROOT} (`docker system df`)."
    return Item("disk for images", free >= need, f"{free} MiB free", f"{need} MiB free", remedy)


def _database(stack: Stack, needs: Mapping[str, Any]) -> Item:  # noqa: ARG001 (all look alike)
    """Log in as the application will; no image needs to be here for that."""
    host, port = str(needs["host"]), int(needs["port"])
    place, expected = f"{needs.get('user')}@{host}:{port}", "a login"
    remedy = "Check xingrin_db_host, _db_port, _db_name, _db_user and _db_password."
    name, user, password = (str(needs.get(key) or "") for key in ("name", "user", "password"))
    problem = login(host, port, name, user, password)
    measured = problem or f"logged in as {place}"
    return Item("database login", problem is None, measured, expected, remedy)
