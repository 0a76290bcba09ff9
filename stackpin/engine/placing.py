"""Which parts of a stack are on which hosts: the groups of the inventory say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory

from stackpin.engine.state import select_hosts
from stackpin.errors import Refused

if TYPE_CHECKING:
    from stackpin.config.stacks import Stack

__all__ = ["chosen", "parts_in", "witness_hosts"]


def parts_in(stack: Stack, groups: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of the parts of `stack` that a host in the inventory groups `groups` has."""
    return tuple(part.name for part in stack.components() if part.applies_to(groups))


def chosen(
    inventory: Inventory, stack: Stack, limit: Sequence[str], path: str
) -> Mapping[str, tuple[str, ...]]:
    """Return the parts by host name, of the hosts in `limit` (empty: all) that have any.

    Raises Refused when none has: then the limit or the groups of the inventory file `path` are
    wrong.
    """
    hosts = select_hosts(inventory, limit, path)
    places = {host.name: parts_in(stack, host.groups) for host in hosts}
    found = {name: parts for name, parts in places.items() if parts}
    if not found:
        groups = sorted({part.group for part in stack.components() if part.group})
        raise Refused(
            f"{path}: found no host of stack {stack.name} among {', '.join(places)}; expected one "
            f"in the group {' or '.join(groups)}: correct --limit or the inventory"
        )
    return found


def witness_hosts(inventory: Inventory, stack: Stack) -> list[Host]:
    """Return the hosts that tell whether parts of `stack` are healthy; none for most stacks."""
    from stackpin.config.stacks import STACKS  # noqa: PLC0415 - the settings of all stacks

    groups = {STACKS[part.witness].group for part in stack.components() if part.witness is not None}
    return [host for host in inventory if groups & set(host.groups)]
