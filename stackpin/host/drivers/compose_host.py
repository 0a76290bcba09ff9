"""Slots that are services of Docker Compose on the host's network: each on a port of its own.

nginx looks at the slot file, as for units, so no name and no network has to be changed at a switch.
Several stacks may share one compose project: containers are told apart by our labels alone.
"""

from __future__ import annotations

from typing import Any

from stackpin.host import rehearsal, slots
from stackpin.host.drivers import Still, compose_foreign, compose_scene
from stackpin.host.drivers import compose_services as services
from stackpin.host.drivers.compose import (
    changed,
    installed,
    place,
    remove,
    show,
    start,
    stop,
)
from stackpin.host.drivers.shared import last_log, pull
from stackpin.host.stack import Stack

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
    "start",
    "stop",
]


def install(stack: Stack, slot: str, release: str) -> None:
    """Link a stopped slot to a release and make its container, so that a start takes a moment."""
    slots.link(stack, slot, release)
    services.create(stack, release, services.of_slot(stack, slot))


def front(stack: Stack, slot: str) -> None:
    """Let docker bring back this slot alone; the other one serves until it has drained."""
    found = services.running(stack)
    # In this order: killed between the two, none comes back by itself, and boot starts the live.
    for name, policy in ((slots.other(slot), "no"), (slot, "always")):
        item = found.get(services.of_slot(stack, name))
        services.policy(policy, [item] if item else [])


def address(stack: Stack, slot: str) -> tuple[str, int] | None:
    """Return the slot's loopback port."""
    return "127.0.0.1", slots.port_of(stack, slot)


def connections(stack: Stack, slot: str) -> int:
    """Count the connections with the slot's port."""
    return slots.established(slots.port_of(stack, slot))


def require_free(stack: Stack, slot: str) -> None:
    """Raise HostError when the project has somebody else's container or the port is taken.

    A slot of ours that has this port may run: it stops before this one starts.
    """
    compose_foreign.require_project(stack)
    holders = show(stack, slots.sharing(stack, slot)).values()
    if not any(container["active"] == "active" for container in holders):
        slots.require_free(slots.port_of(stack, slot))


def rehearse(stack: Stack, release: str, still: Still) -> dict[str, Any]:
    """Fetch the images, then start the release on copies when its file has a service for that."""
    still()
    pulled = pull(stack, release)
    services.compose(stack, release, "config", "--quiet")
    if not compose_scene.known(stack, release):
        return {"pulled": pulled}
    return {"pulled": pulled, **rehearsal.rehearse(stack, release, still, compose_scene)}


def clean(stack: Stack) -> None:
    """Remove a rehearsal's container and copies."""
    rehearsal.clean(stack, compose_scene)
