"""systemd units that are simply on: enabled, and running if they should be."""

from __future__ import annotations

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from facts.units import ABSENT, Units
from operations.notes import Change, note
from operations.program import Commands


@operation()
def enabled(unit: str, running: bool = False) -> Commands:
    """Enable `unit`; with `running`, start it too. A running unit is never restarted."""
    found = host.get_fact(Units, names=[unit]).get(unit, ABSENT)
    steps: list[list[str]] = []
    if found.stale:
        note(Change("unit", unit, "changed on disk", "read by systemd"))
        steps.append(["systemctl", "daemon-reload"])
    if found.enabled != "enabled":
        note(Change("unit", unit, found.enabled or "not enabled", "enabled"))
        steps.append(["systemctl", "enable", unit])
    if running and found.active not in ("active", "activating", "reloading"):
        note(Change("service", unit, found.active, "running"))
        steps.append(["systemctl", "start", unit])
    if not steps:
        host.noop(f"{unit} is enabled{' and running' if running else ''}")
        return
    for step in steps:
        yield StringCommand(*(QuoteString(word) for word in step))
