"""Slots that are systemd units on loopback ports, behind nginx."""

from __future__ import annotations

from typing import Any

from stackpin.host import rehearsal, rehearsal_unit, slots, units
from stackpin.host.drivers import Still
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


def show(stack: Stack, slots: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """As `units.show`."""
    return units.show(stack, slots)


def install(stack: Stack, slot: str, release: str) -> None:
    """Link the slot and write its unit."""
    slots.install(stack, slot, release)


def start(stack: Stack, slot: str) -> None:
    """Begin to start the unit."""
    units.start(stack, slot)


def stop(stack: Stack, *slots: str) -> None:
    """Stop the units."""
    units.stop(stack, *slots)


def remove(stack: Stack, slot: str) -> None:
    """Nothing: a stopped unit takes no room and keeps its link for the next run."""


def front(stack: Stack, slot: str) -> None:
    """Nothing: nginx looks at the slot file."""


def address(stack: Stack, slot: str) -> tuple[str, int] | None:
    """Return the slot's loopback port."""
    return "127.0.0.1", slots.port_of(stack, slot)


def pull(stack: Stack, release: str) -> dict[str, Any]:  # noqa: ARG001 (the protocol's)
    """Nothing: the artifact came with the release."""
    return {}


def last_log(
    stack: Stack, slot: str, env: dict[str, str], since: float | None = None, lines: int = 20
) -> list[str]:
    """Return lines of the unit's journal."""
    return units.last_log(stack, slot, env, since, lines)


def require_free(stack: Stack, slot: str) -> None:
    """Raise HostError(error) naming the holder when the slot's port is taken.

    Our own other slot may have it: it stops before this one starts.
    """
    holders = units.show(stack, slots.sharing(stack, slot)).values()
    if not any(unit["active"] == "active" for unit in holders):
        slots.require_free(slots.port_of(stack, slot))


def installed(stack: Stack, slot: str) -> bool:
    """Tell whether the unit's file is there."""
    return stack.unit_file(slot).is_file()


def connections(stack: Stack, slot: str) -> int:
    """Count the connections with the slot's port."""
    return slots.established(slots.port_of(stack, slot))


def place(stack: Stack, slot: str) -> str:
    """Name the unit, without its suffix."""
    return f"{stack.name}@{slot}"


def changed(stack: Stack, slot: str, release: str) -> list[str]:  # noqa: ARG001 (the protocol's)
    """Nothing that is not in the release's files."""
    return []


def rehearse(stack: Stack, release: str, still: Still) -> dict[str, Any]:
    """Start it on copies of the data."""
    return rehearsal.rehearse(stack, release, still, rehearsal_unit)


def clean(stack: Stack) -> None:
    """Remove a rehearsal's unit and copies."""
    rehearsal.clean(stack, rehearsal_unit)
