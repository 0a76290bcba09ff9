"""What really runs of a compose project beside what its release says: for inspect and drift."""

from __future__ import annotations

from typing import Any

from stackpin.host import pointer, slots
from stackpin.host.drivers import compose_services as services
from stackpin.host.drivers.docker import Container
from stackpin.host.errors import HostError
from stackpin.host.reading import Finding
from stackpin.host.stack import SLOTS, Stack

__all__ = ["findings", "services_of"]


def services_of(stack: Stack) -> dict[str, dict[str, Any]]:
    """Return every service of the project, the declared ones that have no container too.

    {service: {name, id, image, digest, image_id, state, exit_code, health, restarts, policy,
    started, slot, release, config_hash, wanted_hash}}; state "absent" and nulls where nothing is.
    wanted_hash is null for what the live release does not declare.
    """
    found = services.running(stack)
    wanted = _hashes(stack)
    answer = {name: _shown(item, wanted.get(name)) for name, item in found.items()}
    for name in _expected(stack):
        if name not in answer:
            answer[name] = {**_shown(None, wanted.get(name))}
    return dict(sorted(answer.items()))


def _shown(item: Container | None, wanted: str | None) -> dict[str, Any]:
    names = ("name", "id", "image", "image_id", "digest", "state", "exit_code", "health",
             "restarts", "policy", "started", "slot", "release")  # fmt: skip
    if item is None:
        shown: dict[str, Any] = {**dict.fromkeys(names), "state": "absent", "restarts": 0}
    else:
        shown = {name: getattr(item, name) for name in names}
    shown["config_hash"] = None if item is None else services.config_hash(item)
    return {**shown, "wanted_hash": wanted}


def _hashes(stack: Stack) -> dict[str, str]:
    release = pointer.live_release(stack)
    if release is None:
        return {}
    try:
        return services.hashes(stack, release)
    except HostError:
        return {}  # the release's file is damaged: a finding of its own (release-modified)


def _expected(stack: Stack) -> list[str]:
    release = pointer.live_release(stack)
    if release is None:
        return []
    live = services.of_slot(stack, slots.live_slot(stack))
    return [live, *services.depend(stack, release), *services.front(stack, release)]


def findings(stack: Stack, *, busy: bool) -> list[Finding]:
    """List what is wrong beside the slots: in what a server needs and in what is in front of it.

    busy: a run at work, which explains all of it. What does not run as the release says is
    `changed` of the driver. Codes: container-not-running, container-unhealthy, container-stray.
    """
    release = pointer.live_release(stack)
    if release is None or busy:
        return []
    found = services.running(stack)
    told: list[Finding] = []
    around = (*services.depend(stack, release), *services.front(stack, release))
    for name in around:
        told += _service(stack, name, found.get(name))
    slot_services = {services.of_slot(stack, slot) for slot in SLOTS}
    known = {*around, *slot_services}
    told += [
        Finding(
            "container-stray",
            f"{item.name}: service {name} is not in the live release {release}; deploy again",
            "absent",
            item.state,
        )
        for name, item in found.items()
        if name not in known
    ]
    return told


def _service(stack: Stack, name: str, item: Container | None) -> list[Finding]:
    if item is None or item.state != "running":
        state = "absent" if item is None else f"{item.state}, exit code {item.exit_code}"
        message = f"service {name} of {stack.name} does not run; see its log, then deploy again"
        return [Finding("container-not-running", message, "running", state)]
    if item.health == "unhealthy":
        message = f"{item.name}: its health check fails; see `docker logs {item.name}`"
        return [Finding("container-unhealthy", message, "healthy", item.health)]
    return []
