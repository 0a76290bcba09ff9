"""Who is told of what in one inventory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stackpin.config.load import load_shared
from stackpin.engine.state import load_inventory
from stackpin.notify import Messenger

__all__ = ["messenger"]


def messenger(inventory: str, data: Mapping[str, Any]) -> Messenger:
    """Return the messenger of an inventory's hosts. Raises Refused for wrong stackpin_* variables.

    `data` overrides variables.
    """
    return Messenger.of(
        load_shared(dict(host.data.dict()), host.name)  # type: ignore[no-untyped-call]
        for host in load_inventory(inventory, data)
    )
