"""What really runs of a compose project beside what its release says: for inspect and drift."""

from __future__ import annotations

from collections.abc import Iterator

from stackpin.host import pointer
from stackpin.host.drivers import compose_foreign
from stackpin.host.drivers import compose_services as services
from stackpin.host.drivers.docker import Container
from stackpin.host.reading import Finding
from stackpin.host.stack import SLOTS, Stack

__all__ = ["findings"]


def findings(stack: Stack, *, busy: bool) -> list[Finding]:
    """List what is wrong beside the slots: in what a server needs and in what is in front of it.

    busy: a run at work, which explains all of it. What does not run as the release says is
    `changed` of the driver. Codes: container-not-running, container-unhealthy, container-stray,
    container-unmanaged, auto-updater.
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
    return [*told, *_not_ours(stack)]


def _not_ours(stack: Stack) -> Iterator[Finding]:
    """List what others put in the project, and what would change it behind our back."""
    project = services.project(stack)
    for item in compose_foreign.foreign(stack):
        yield Finding(
            "container-unmanaged",
            f"{item.name} is in compose project {project} and was not made by Stackpin; look at "
            f"it, then `docker rm --force {item.name}`",
            "only containers of Stackpin",
            item.image,
        )
    for item in compose_foreign.asked_for_updates(stack):
        yield Finding(
            "container-unmanaged",
            f"{item.name} has label {compose_foreign.UPDATE_LABEL}, which lets an updater replace "
            "it outside of every gate; take the label out of its compose file, then deploy again",
            "no such label",
            item.labels[compose_foreign.UPDATE_LABEL],
        )
    for name, image in compose_foreign.updaters():
        yield Finding(
            "auto-updater",
            f"{name} ({image}) replaces containers of this host by itself, past pins and gates; "
            f"`docker rm --force {name}`",
            "no updater",
            image,
        )


def _service(stack: Stack, name: str, item: Container | None) -> list[Finding]:
    if item is None or item.state != "running":
        state = "absent" if item is None else f"{item.state}, exit code {item.exit_code}"
        message = f"service {name} of {stack.name} does not run; see its log, then deploy again"
        return [Finding("container-not-running", message, "running", state)]
    if item.health == "unhealthy":
        message = f"{item.name}: its health check fails; see `docker logs {item.name}`"
        return [Finding("container-unhealthy", message, "healthy", item.health)]
    return []
