"""How units and their processes can differ from what their slots hold.

slot-not-running, both-slots-running, running-not-installed, env-changed, exe-deleted and
unit-override.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stackpin.host import disk, pointer, releases, slots
from stackpin.host.reading import Finding, Reading
from stackpin.host.stack import SLOTS

__all__ = ["digest", "look"]

# Drop-ins a distribution ships for every unit are its business, not somebody's override.
_VENDOR = ("/usr/lib/", "/lib/")


def look(reading: Reading, *, busy: bool) -> Iterator[Finding]:
    """List what differs; busy: a run at work explains two running slots."""
    yield from _slots(reading, busy)
    for slot in SLOTS:
        yield from _process(reading, slot)
        yield from _unit(reading, slot)


def digest(path: Path) -> str | None:
    """Return the sha256 of a file, None when there is none to read."""
    try:
        return disk.sha256(path)
    except OSError:
        return None


def _slots(reading: Reading, busy: bool) -> Iterator[Finding]:
    stack, live = reading.stack, reading.live_slot or ""
    release = pointer.live_release(stack)
    unit = reading.units.get(live)
    active = unit.active if unit else "unknown"
    if release is not None and active != "active":
        yield Finding(
            "slot-not-running",
            f"{stack.unit(live)} is live but {active}; see its log, then `stackpin start`",
            "active",
            active,
        )
    idle = slots.other(live)
    other = reading.units.get(idle)
    if not busy and other is not None and other.active in {"active", "activating"}:
        yield Finding(
            "both-slots-running",
            f"{stack.unit(idle)} runs although {live} is live and no deploy is at work; "
            f"stop it with `systemctl stop {stack.unit(idle)}`",
            f"only {live}",
            f"{live} and {idle}",
        )


def _process(reading: Reading, slot: str) -> Iterator[Finding]:
    stack, process = reading.stack, reading.running.get(slot)
    if process is None:
        return
    if process.exe_deleted:
        yield Finding(
            "exe-deleted",
            f"pid {process.pid} of {stack.unit(slot)} runs a program that was removed or "
            "replaced; `stackpin restart`",
            "a program that is on disk",
            str(process.exe),
        )
    linked = slots.linked(stack, slot)
    runs_release = process.environment.get("STACKPIN_RELEASE")
    if linked is None or runs_release != linked:
        yield Finding(
            "running-not-installed",
            f"pid {process.pid} of {stack.unit(slot)} runs another release than slot {slot} "
            "holds; `stackpin restart`, or deploy again",
            str(linked),
            str(runs_release),
        )
        return
    declared = releases.environment(stack, linked, slot)
    others = sorted(n for n, v in declared.items() if process.environment.get(n) != v)
    if others:
        yield Finding(
            "env-changed",
            f"pid {process.pid} of {stack.unit(slot)} runs with other variables than release "
            f"{linked} and the files of this host have now; deploy again, or `stackpin restart`",
            "the variables of the release",
            f"other values of {', '.join(others)}",
        )
    wanted = releases.about(stack, linked).get("artifact_sha256")
    server = stack.release_dir(linked) / "server"
    if wanted and _is_elf(server):
        # The link in /proc opens what runs, even when its file was replaced.
        found = digest(Path(f"/proc/{process.pid}/exe"))
        if found not in {wanted, None}:
            yield Finding(
                "running-not-installed",
                f"pid {process.pid} of {stack.unit(slot)} runs another binary than release "
                f"{linked}; `stackpin restart`, or deploy again",
                f"sha256 {wanted}",
                f"sha256 {found}",
            )


def _unit(reading: Reading, slot: str) -> Iterator[Finding]:
    unit, stack = reading.units.get(slot), reading.stack
    if unit is None or slots.linked(stack, slot) is None:
        return
    dropins = [path for path in unit.dropins if not path.startswith(_VENDOR)]
    if dropins:
        yield Finding(
            "unit-override",
            f"{unit.name} has drop-ins Stackpin did not write; `systemctl revert {unit.name}` "
            "or move them into the release's unit",
            "no drop-ins",
            " ".join(dropins),
        )
    if not unit.fragment_ok:
        why = "changed since it was loaded" if unit.reload_needed else "not the release's text"
        yield Finding(
            "unit-override",
            f"{unit.name}: unit {unit.fragment or 'absent'} is {why}; deploy again",
            f"the unit of release {slots.linked(stack, slot)}",
            f"{unit.fragment or 'absent'}, {why}",
        )


def _is_elf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False
