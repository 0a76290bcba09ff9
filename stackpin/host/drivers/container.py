"""A slot that is one container: the live one carries the declared name, the other NAME.SLOT.

Only the container that is directed to (`front`) is restarted by docker: after a restart of the host
or of the daemon exactly that one comes back, whatever a killed run left beside it.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from stackpin.host import releases, slots
from stackpin.host.drivers.docker import (
    LABELS,
    Container,
    by_name,
    containers,
    digest_of,
    docker,
    of_slot,
)
from stackpin.host.drivers.shared import (
    clean,
    connections,
    halt,
    installed,
    last_log,
    pull,
    rehearse,
    show,
)
from stackpin.host.errors import failed, refused
from stackpin.host.stack import SLOTS, Stack

__all__ = [
    "address",
    "changed",
    "clean",
    "connections",
    "front",
    "install",
    "installed",
    "last_log",
    "place",
    "pull",
    "rehearse",
    "remove",
    "require_free",
    "show",
    "spec",
    "start",
    "stop",
    "wanted_env",
]

CREATE_SECONDS = 120.0  # the image is here already
# Ours, for the host's own use: the label tells it, and the product expects its variables alone.
_PRIVATE = ("STACKPIN_RELEASE",)


def declared_name(stack: Stack) -> str:
    """Return the name the live container has."""
    name = str((stack.container or {}).get("name") or "")
    if not name:
        raise refused(f"{stack.settings_file}: container.name is missing; deploy again")
    return name


def place(stack: Stack, slot: str) -> str:
    """Name the slot's container."""
    name = declared_name(stack)
    return name if slots.live_slot(stack) == slot else f"{name}.{slot}"


def wanted_env(stack: Stack, slot: str, release: str) -> dict[str, str]:
    """Return the variables a slot's container is made with."""
    env = releases.environment(stack, release, slot)
    return {name: value for name, value in env.items() if name not in _PRIVATE}


def settings(stack: Stack, release: str) -> dict[str, Any]:
    """Read a release's container.json. Raises HostError(refused): absent or not readable."""
    path = stack.release_dir(release) / stack.spec_name
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise refused(f"{path}: cannot be read ({error}); deploy again") from error
    if not isinstance(value, dict) or digest_of(str(value.get("image"))) is None:
        raise refused(f'{path}: expected an object with "image": "repo:tag@sha256:..."')
    return value


def spec(stack: Stack, slot: str, release: str) -> str:
    """Return the sha256 of all a slot's container is made from: container.json and variables."""
    parts = [settings(stack, release), wanted_env(stack, slot, release)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def install(stack: Stack, slot: str, release: str) -> None:
    """Link the slot and create its container, not started; one it had before goes."""
    value = settings(stack, release)
    env = wanted_env(stack, slot, release)
    for name, text in env.items():
        if "\n" in text or "\r" in text:
            raise refused(
                f"release {release}: variable {name} has a line break, which a container's "
                "variables cannot be given with; take it out"
            )
    slots.link(stack, slot, release)
    remove(stack, slot)
    labels = {"stack": stack.name, "slot": slot, "release": release}
    labels["spec"] = spec(stack, slot, release)
    argv = ["create", f"--pull={value.get('pull') or 'missing'}"]
    argv += ["--name", f"{declared_name(stack)}.{slot}", "--restart", "no"]
    for key, label in labels.items():
        argv += ["--label", f"{LABELS[key]}={label}"]
    argv += ["--env-file", "/dev/stdin"]  # no secret in argv, no file left behind
    if value.get("network"):
        argv += ["--network", str(value["network"])]
    for volume in value.get("volumes") or ():
        argv += ["--volume", str(volume)]
    for port in value.get("ports") or ():
        argv += ["--publish", str(port)]
    argv += [str(value["image"]), *map(str, value.get("command") or ())]
    text = "".join(f"{name}={value}\n" for name, value in sorted(env.items()))
    docker(*argv, timeout=CREATE_SECONDS, data=text)


def start(stack: Stack, slot: str) -> None:
    """Start the slot's container, made anew should it be gone; the live one has the name.

    Raises HostError(refused) when somebody else's container took the live one's place.
    """
    live = slots.live_slot(stack) == slot
    if live:
        _foreign(stack, declared_name(stack))
    container = of_slot(stack, slot)
    if container is None:
        release = slots.linked(stack, slot)
        if release is None:
            raise failed(f"{stack.name}: slot {slot} holds no release; deploy again")
        install(stack, slot, release)
        container = _require(stack, slot)
    if live:
        _take_name(stack, container)
        _keep_alive(stack, container)
    docker("start", container.id, timeout=60)


def stop(stack: Stack, *slots: str) -> None:
    """Stop the slots' containers and keep them."""
    for container in containers(stack):
        if container.slot in slots:
            halt(container, _patience(stack))


def remove(stack: Stack, slot: str) -> None:
    """Remove the slot's container, and any a killed run left in its place."""
    for container in containers(stack, slot):
        if container.state == "running":
            halt(container, _patience(stack))
        docker("rm", "--force", "--volumes", container.id, timeout=60)


def front(stack: Stack, slot: str) -> None:
    """Give the slot's container the declared name and let it be restarted; the other one stops.

    The other goes last: until this one carries the name both run.
    """
    own = _require(stack, slot)
    if own.state not in ("running", "restarting"):
        docker("start", own.id, timeout=60)
    _take_name(stack, own)
    _keep_alive(stack, own)
    for item in _others(stack, own):
        halt(item, _patience(stack))


def _patience(stack: Stack) -> int:
    return max(1, math.ceil(stack.drain_seconds))


def address(stack: Stack, slot: str) -> tuple[str, int] | None:  # noqa: ARG001
    """None: running is all that can be asked of it from here."""
    return None


def require_free(stack: Stack, slot: str) -> None:
    """Refuse when somebody else's container has one of our names."""
    name = declared_name(stack)
    for wanted in (name, f"{name}.{slot}"):
        _foreign(stack, wanted)


def changed(stack: Stack, slot: str, release: str) -> list[str]:
    """Name what the slot's container was made from that is another now: image, env, ...

    container: somebody removed it. env: variables (also those of files made on this host).
    container.json: its flags. name: the live one carries another than declared, which is how the
    product finds it.
    """
    container = of_slot(stack, slot)
    if not releases.exists(stack, release):
        return []
    if container is None:
        return ["container"]
    value, env = settings(stack, release), wanted_env(stack, slot, release)
    found = []
    if container.digest != digest_of(str(value["image"])):
        found.append("image")
    if any(container.env.get(name) != text for name, text in env.items()):
        found.append("env")
    if not found and container.spec != spec(stack, slot, release):
        found.append("container.json")
    if slots.live_slot(stack) == slot and container.name != declared_name(stack):
        found.append("name")
    return found


def _require(stack: Stack, slot: str) -> Container:
    container = of_slot(stack, slot)
    if container is None:
        raise failed(
            f"{stack.name}: slot {slot} has no container on this host, expected "
            f"{place(stack, slot)}; deploy again"
        )
    return container


def _keep_alive(stack: Stack, container: Container) -> None:
    policy = "always"
    if container.release and releases.exists(stack, container.release):
        policy = str(settings(stack, container.release).get("restart") or "no")
    if container.policy != policy:
        docker("update", f"--restart={policy}", container.id)


def _others(stack: Stack, own: Container) -> list[Container]:
    return [item for item in containers(stack) if item.id != own.id and item.slot in SLOTS]


def _take_name(stack: Stack, own: Container) -> None:
    """Give `own` the declared name; another of ours that has it gets its slot's."""
    name = declared_name(stack)
    if own.name == name:
        return
    for item in _others(stack, own):
        if item.name == name:
            _free_name(stack, f"{name}.{item.slot}", item)
            docker("rename", item.id, f"{name}.{item.slot}")
    _foreign(stack, name)
    docker("rename", own.id, name)


def _foreign(stack: Stack, name: str) -> None:
    held = by_name(name)
    if held is not None and held.labels.get(LABELS["stack"]) != stack.name:
        raise refused(
            f"container {name} ({held.image}, id {held.id[:12]}) was not made by Stackpin and has "
            f"the name stack {stack.name} needs; look at it, then `docker rm --force {name}`",
            container=name,
        )


def _free_name(stack: Stack, name: str, wants: Container) -> None:
    held = by_name(name)
    if held is None or held.id == wants.id:
        return
    _foreign(stack, name)
    docker("rm", "--force", "--volumes", held.id, timeout=60)
