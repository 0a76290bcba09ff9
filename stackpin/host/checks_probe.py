"""What a check is run against: a stack, one of its slots, and the release in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from stackpin.host import pointer, releases
from stackpin.host.errors import failed
from stackpin.host.masking import Masker
from stackpin.host.stack import Stack

__all__ = ["Probe", "Verdict"]

SHOWN = 300
Verdict = tuple[bool, str, str]
_PLACEHOLDER = re.compile(r"\{(?:(?P<name>address|port|slot|stack)|port\+(?P<more>\d{1,5}))\}")


@dataclass(frozen=True)
class Probe:
    """What a check is run against. `port` and `slot` are None outside a slot; `timeout` seconds."""

    stack: Stack
    slot: str | None
    port: int | None
    env: Mapping[str, str]
    version: str | None
    timeout: float
    mask: Masker
    address: str | None = None

    def fill(self, text: str) -> str:
        """Replace {address}, {port}, {port+N}, {slot}, {stack}. Raises KeyError for one unknown."""
        known = {
            "address": self.address,
            "port": self.port,
            "slot": self.slot,
            "stack": self.stack.name,
        }

        def value(match: re.Match[str]) -> str:
            found = known[match.group("name") or "port"]
            if found is None:
                raise KeyError(match.group())
            return str(found if match.group("name") else int(str(found)) + int(match.group("more")))

        return _PLACEHOLDER.sub(value, text)

    def of(self, name: object) -> Probe:
        """Return the probe of another stack's live slot; of this one when `name` says nothing else.

        Raises HostError(error): that stack has no live release here.
        """
        if not name or name == self.stack.name:
            return self
        stack = Stack.load(str(name))
        slot, release = pointer.live_slot(stack), pointer.live_release(stack)
        if slot is None or release is None:
            raise failed(f"stack {name}: no release of it is live on this host")
        env = releases.environment(stack, release, slot)
        mask = Masker.of({**self.env, **env})
        return replace(self, stack=stack, slot=slot, port=None, address=None, env=env, mask=mask)

    def unit(self, check: Mapping[str, Any]) -> str:
        """Name the unit a check is about: its own, or the slot's."""
        return self.fill(str(check.get("unit") or "{stack}@{slot}.service"))

    def show(self, text: str) -> str:
        """`text` masked, on one line, cut to what fits a result."""
        return " ".join(self.mask(text).split())[:SHOWN]
