"""The `pull` command: bring images to a host before anything is changed on it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stackpin.host import disk
from stackpin.host.drivers.docker import CONFIG
from stackpin.host.errors import refused
from stackpin.host.images import ensure, free_mb
from stackpin.host.stack import Stack

__all__ = ["COMMANDS", "credentials"]

PREFIX = "stackpin-docker-"
HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")
HUB_KEY = "https://index.docker.io/v1/"  # the name docker has always kept its own registry under


def pull(stack: Stack, payload: dict[str, Any]) -> dict[str, Any]:
    """Pull images: pull {images: ["repo:tag@sha256:..."], registry?, need_mb?}.

    registry: {host, username, password, ca}; ca, a PEM text, is put where docker looks for it.
    need_mb: MiB that must be free before the first one is pulled. Each image is pulled by digest,
    checked, and named repo:tag as well; progress lines go to standard error. Returns {pulled:
    [ref], present: [ref], seconds, disk_free_mb}. Raises HostError(refused): what the registry
    said (401, 404, TLS, no answer), a full disk, an image without a digest.
    """
    wanted = payload.get("images")
    if not isinstance(wanted, list) or not all(isinstance(item, str) for item in wanted):
        raise refused("pull: `images` must be a list of repo:tag@sha256:... texts")
    need, free = int(payload.get("need_mb") or 0), free_mb()
    if free < need:
        raise refused(
            f"docker: {free} MiB free for images, {need} MiB needed; make room, nothing was pulled",
            free_mb=free,
            need_mb=need,
        )
    _trust(stack, payload.get("registry") or {})
    with credentials(payload.get("registry")) as config:
        told = ensure(wanted, config)
    return {**told, "disk_free_mb": free_mb()}


def _trust(stack: Stack, registry: Mapping[str, Any]) -> None:
    host, ca = str(registry.get("host") or ""), registry.get("ca")
    if not host or not ca:
        return
    path = stack.at("/etc/docker/certs.d") / host / "ca.crt"
    if path.is_file() and path.read_text(encoding="utf-8") == ca:
        return
    disk.make_dir(path.parent)
    disk.atomic_write(path, str(ca).encode(), 0o644)


@contextmanager
def credentials(registry: Mapping[str, Any] | None) -> Iterator[str]:
    """Give a DOCKER_CONFIG directory that opens a registry, gone afterwards; ours without one.

    registry: {host, username, password}. The directory is 0700 and in memory where there is
    /run: a password never reaches a command line or a disk.
    """
    registry = registry or {}
    if not registry.get("username"):
        yield CONFIG
        return
    host = str(registry.get("host") or "docker.io")
    pair = f"{registry['username']}:{registry.get('password') or ''}"
    auth = base64.b64encode(pair.encode()).decode()
    place = Path("/run") if os.access("/run", os.W_OK) else Path(tempfile.gettempdir())
    _sweep(place)
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=place))
    try:
        path = folder / "config.json"
        path.touch(mode=0o600)
        key = HUB_KEY if host in HUB else host
        path.write_text(json.dumps({"auths": {key: {"auth": auth}}}), encoding="utf-8")
        yield str(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(place: Path) -> None:
    """Remove the logins that killed pulls left."""
    for left in place.glob(f"{PREFIX}*-*"):
        number = left.name.removeprefix(PREFIX).partition("-")[0]
        mine = number.isdigit() and left.is_dir() and left.stat().st_uid == os.getuid()
        if mine and not Path(f"/proc/{number}").exists():
            shutil.rmtree(left, ignore_errors=True)


COMMANDS = {"pull": pull}
