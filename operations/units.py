"""systemd units that are simply on: enabled, and running if they should be."""

from __future__ import annotations

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from facts.units import ABSENT, Units
from operations.notes import Change, note
from operations.program import Commands


@operation()
def enabled(units: list[str], running: bool = False) -> Commands:
    """Enable `units`; with `running`, start them too. A running unit is never restarted."""
    found = host.get_fact(Units, names=units)
    stale, disabled, stopped = [], [], []
    for name in units:
        unit = found.get(name, ABSENT)
        if unit.stale:
            note(Change("unit", name, "changed on disk", "read by systemd"))
            stale.append(name)
        if unit.enabled != "enabled":
            note(Change("unit", name, unit.enabled or "not enabled", "enabled"))
            disabled.append(name)
        if running and unit.active not in ("active", "activating", "reloading"):
            note(Change("service", name, unit.active, "running"))
            stopped.append(name)
    if stale:
        yield StringCommand("systemctl daemon-reload")
    for verb, names in (("enable", disabled), ("start", stopped)):
        if names:
            yield StringCommand("systemctl", verb, *map(QuoteString, names))
    if not stale and not disabled and not stopped:
        verb = "are" if len(units) > 1 else "is"
        host.noop(f"{', '.join(units)} {verb} enabled{' and running' if running else ''}")
