"""What containers and compose services have in common; their drivers take from here."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from stackpin.host import images, releases
from stackpin.host.drivers import Still
from stackpin.host.drivers.docker import Container, containers, docker, of_slot
from stackpin.host.errors import refused
from stackpin.host.masking import Masker
from stackpin.host.slots import established
from stackpin.host.stack import Stack

__all__ = [
    "ABSENT",
    "changed",
    "clean",
    "connections",
    "halt",
    "installed",
    "last_log",
    "place",
    "pull",
    "rehearse",
    "require_free",
    "show",
]

STOP_SECONDS = 10  # a program gets to end by itself before it is killed
ABSENT: dict[str, Any] = {
    "active": "inactive",
    "sub": "absent",
    "restarts": 0,
    **dict.fromkeys(("main_pid", "started", "result", "job", "id", "name", "image", "digest")),
    **dict.fromkeys(("health", "release", "spec")),
}


def show(stack: Stack, slots: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Return the state of slots by their labels; see `Driver.show`."""
    found: dict[str, Container] = {}
    for item in containers(stack):
        if item.slot in slots:
            found.setdefault(str(item.slot), item)  # newest first
    return {slot: found[slot].shown() if slot in found else dict(ABSENT) for slot in slots}


def halt(container: Container, seconds: int = STOP_SECONDS) -> None:
    """Stop a container for good: it must not come back with the daemon or the host."""
    if container.policy != "no":
        docker("update", "--restart=no", container.id)
    if container.state in ("created", "exited", "dead"):
        return
    answer = docker("stop", f"--time={seconds}", container.id, timeout=seconds + 30.0, check=False)
    if not answer.ok and "No such container" not in answer.err:
        docker("kill", container.id, check=False)
        docker("stop", f"--time={seconds}", container.id, timeout=seconds + 30.0)


def last_log(
    stack: Stack, slot: str, env: dict[str, str], since: float | None = None, lines: int = 20
) -> list[str]:
    """Return a container's last log lines, secrets of `env` masked; since: unix seconds."""
    container = of_slot(stack, slot)
    if container is None:
        return []
    more = []
    if since is not None:
        moment = datetime.fromtimestamp(int(since), timezone.utc)  # noqa: UP017 (Python 3.10)
        more.append("--since=" + moment.isoformat().replace("+00:00", "Z"))
    # Both streams, in the order they were written as far as docker keeps it.
    answer = docker(
        "logs", "--timestamps", f"--tail={lines}", *more, container.id, check=False, timeout=15
    )
    mask = Masker.of({**container.env, **env})
    rows = sorted(row for row in (answer.out + "\n" + answer.err).splitlines() if row.strip())
    return [mask(row.partition(" ")[2])[:500] for row in rows[-lines:]]


def installed(stack: Stack, slot: str) -> bool:
    """Tell whether the slot has a container."""
    return of_slot(stack, slot) is not None


def require_free(stack: Stack, slot: str) -> None:
    """Nothing: addresses of containers are their own."""


def connections(stack: Stack, slot: str) -> int:
    """Count the connections with the slot's port, inside its own network."""
    container = of_slot(stack, slot)
    port = (stack.compose or {}).get("port")
    if container is None or container.pid is None or port is None:
        return 0
    return established(int(port), Path(f"/proc/{container.pid}/net"))


def place(stack: Stack, slot: str) -> str:
    """Name a slot as stack@slot."""
    return f"{stack.name}@{slot}"


def pull(stack: Stack, release: str) -> dict[str, Any]:
    """Make sure that the images of a release are here, each checked by its digest."""
    wanted = releases.images(stack, release)
    if not wanted:
        raise refused(
            f"release {release} of {stack.name}: release.json names no images; deploy it again"
        )
    return images.ensure(wanted)


def changed(stack: Stack, slot: str, release: str) -> list[str]:
    """Name what the slot's container has that the release has not: image."""
    container = of_slot(stack, slot)
    if container is None:
        return []
    return [] if container.image in releases.images(stack, release) else ["image"]


def rehearse(stack: Stack, release: str, still: Still) -> dict[str, Any]:
    """Fetch the images: the longest and likeliest to fail of what comes."""
    still()
    return {"pulled": pull(stack, release)}


def clean(stack: Stack) -> None:
    """Nothing: nothing is started in a rehearsal."""
