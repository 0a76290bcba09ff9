"""The ports of a live release: changing them under it would be an outage.

nginx would send requests to the new ports at once, where nothing listens before the switch, and
the way back would ask the old release on a port it does not have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from stackpin.config.hoststack import SharedPort, SlotPorts

__all__ = ["VARIABLE", "Conflict", "conflict", "serves"]

VARIABLE = "crm_ports"
SLOTS = ("blue", "green")  # nothing lives on the port of the rehearsal
REMEDY = (
    "Keep the ports while it serves. To change them, accept an interruption: run `stackpin stop` "
    "for crm, then deploy site."
)


class Conflict(NamedTuple):
    """Found and expected, in words, and what to do."""

    found: str
    expected: str
    remedy: str = REMEDY


def serves(state: Mapping[str, Any]) -> bool:
    """Tell from a `state` answer whether a release is live and not known to be stopped."""
    slot = (state.get("slots") or {}).get(state.get("live_slot") or "") or {}
    return bool(state.get("live_release")) and slot.get("active") not in {"inactive", "failed"}


def conflict(
    state: Mapping[str, Any],
    deployed: Mapping[str, int],
    declared: SlotPorts | SharedPort,
    remedy: str = REMEDY,
) -> Conflict | None:
    """Compare the ports a stack was `deployed` with to the `declared` ones, if it serves."""
    wanted = {slot: int(declared.model_dump()[slot]) for slot in SLOTS}
    if not serves(state) or all(deployed.get(slot, port) == port for slot, port in wanted.items()):
        return None
    return Conflict(
        _listed(wanted),
        f"{_listed(deployed)} while {state['live_release']} is live there",
        remedy,
    )


def _listed(ports: Mapping[str, int]) -> str:
    return ", ".join(f"{slot} {ports.get(slot)}" for slot in SLOTS)
