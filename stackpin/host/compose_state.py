"""What really runs of a compose project beside what its release says: for inspect and drift."""

from __future__ import annotations

from stackpin.host import pointer
from stackpin.host.drivers import compose_services as services
from stackpin.host.drivers.docker import Container
from stackpin.host.reading import Finding
from stackpin.host.stack import SLOTS, Stack

__all__ = ["findings"]


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
