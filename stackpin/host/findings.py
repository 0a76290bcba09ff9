"""The ways a host can differ from what was deployed on it, each with its code.

running-not-installed, exe-deleted, unit-override, stray-listener, slot-journal-disagreement,
slot-not-running, both-slots-running, unfinished-run, release-modified, mode-wrong, pending-guard,
maintenance-on, database-damaged and docker-not-answering (made in inspect.py). Of containers
(drivers/looking.py): container-not-running, container-unmanaged, env-changed, restarts,
tag-moved-locally, and running-not-installed and both-slots-running as for units.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stackpin.host import (
    compose_state,
    disk,
    journal,
    owners,
    pointer,
    releases,
    runs,
    slots,
    static,
)
from stackpin.host.drivers import looking
from stackpin.host.drivers.docker import Container
from stackpin.host.reading import Finding, Reading, UnitState
from stackpin.host.stack import SLOTS, Stack

__all__ = ["Finding", "Reading", "UnitState", "look"]

# Drop-ins a distribution ships for every unit are its business, not somebody's override.
_VENDOR = ("/usr/lib/", "/lib/")


def look(reading: Reading, held: list[Container] | None = None) -> list[Finding]:
    """List every difference. A run at work explains two running slots and a young switch.

    held: the stack's containers; None: it has none, or docker could not be asked.
    """
    run = runs.load(reading.stack)
    abandoned = None if run is None else runs.stale(reading.stack, run)
    busy = not runs.ended(run) and abandoned is None
    found: list[Finding] = []
    if run is not None and abandoned is not None:
        found.append(
            Finding(
                "unfinished-run",
                f"{reading.stack.name}: run {run['run']} to {run['release']} was left "
                f"{run['stage']} ({abandoned}); deploy again, that cleans up first",
                "no open run",
                f"run {run['run']}, {run['stage']}, {abandoned}",
            )
        )
    if reading.stack.uses_images:
        if held is not None:
            found += looking.differences(reading.stack, held, reading.live_slot, busy=busy)
            if reading.stack.kind == "compose":
                found += compose_state.findings(reading.stack, busy=busy)
    elif not reading.stack.is_static:
        found += _slots(reading, busy)
        for slot in SLOTS:
            found += _process(reading, slot)
            found += _unit(reading, slot)
    found += _journal(reading, busy)
    found += _releases(reading)
    found += _listeners(reading)
    found += _modes(reading.stack)
    found += _standing(reading.stack)
    return found


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
    wanted = releases.about(stack, linked).get("artifact_sha256")
    server = stack.release_dir(linked) / "server"
    if wanted and _is_elf(server):
        # The link in /proc opens what runs, even when its file was replaced.
        found = _sha256(Path(f"/proc/{process.pid}/exe"))
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


def _journal(reading: Reading, busy: bool) -> Iterator[Finding]:
    """Compare what is live with the last release that was proven, unless a run is open."""
    stack = reading.stack
    proven = [line for line in journal.read(stack) if line["event"] == "confirmed"]
    if busy or not proven:
        return
    last = proven[-1]
    expected, found = str(last.get("release")), str(pointer.live_release(stack))
    if last.get("slot"):
        expected, found = f"{expected} in {last['slot']}", f"{found} in {reading.live_slot}"
    if expected != found:
        yield Finding(
            "slot-journal-disagreement",
            f"{stack.name}: what is live is not what the journal says was confirmed last; "
            "somebody switched by hand; deploy again",
            expected,
            found,
        )


def _releases(reading: Reading) -> Iterator[Finding]:
    """Look at the files of what runs or may be gone back to, and at the pages that are served."""
    stack = reading.stack
    held = {slots.linked(stack, slot) for slot in SLOTS} if not stack.is_static else set()
    for release in sorted(str(name) for name in {*held, pointer.live_release(stack)} - {None}):
        base = stack.release_dir(release)
        names = releases.altered(stack, release)
        if not names:
            continue
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        # What is there and what should be, in their own words where one file stands for all.
        wanted = releases.about(stack, release)
        files = {name: wanted.get("artifact_sha256") for name in ("server", stack.spec_name)}
        files |= {f"{static.SITE}/{n}": v for n, v in (wanted.get("files") or {}).items()}
        found = _sha256(base / names[0])
        yield Finding(
            "release-modified",
            f"{base}/{names[0]}{more} is not what was uploaded; deploy again",
            f"sha256 {files[names[0]]}" if files.get(names[0]) else "absent",
            f"sha256 {found}" if found else "absent",
        )


def _listeners(reading: Reading) -> Iterator[Finding]:
    allowed = (reading.stack.listeners or {}).get("allowed")
    if allowed is None:
        return
    seen = set()
    for item in reading.listening:
        name = f"{item.port}/{item.proto}"
        if item.loopback or name in allowed or name in seen:
            continue
        seen.add(name)  # the same program on IPv4 and IPv6 is one finding
        holder = f"{item.process or 'a process'} (pid {item.pid})"
        yield Finding(
            "stray-listener",
            f"{holder} listens on {item.address} port {name}; stop it, bind it to 127.0.0.1 or "
            "add the port to the allowed listeners",
            f"only {', '.join(allowed) or 'loopback'}",
            f"{name} on {item.address} by {holder}",
        )


def _modes(stack: Stack) -> Iterator[Finding]:
    for path, mode, user in _expected_modes(stack):
        try:
            found = owners.of(path)
        except OSError:
            continue  # what is absent is somebody else's finding
        if (found["mode"], found["user"]) != (mode, user):
            yield Finding(
                "mode-wrong",
                f"{path}: wrong owner or mode; deploy again, or chown {user} and chmod {mode}",
                f"{mode} {user}",
                f"{found['mode']} {found['user']}",
            )


def _expected_modes(stack: Stack) -> Iterator[tuple[Path, str, str]]:
    yield stack.settings_file, "0600", "root"
    yield stack.settings_dir / "restic.password", "0600", "root"
    yield stack.state_dir, "0711", "root"
    yield stack.journal_file, "0600", "root"
    yield stack.slot_file, "0644", "root"
    for name in stack.env_files:
        yield stack.at(name), "0600", "root"
    if stack.is_static:
        return
    if not stack.uses_images:
        yield stack.live_data_dir, "0700", stack.user
        for slot in (*SLOTS, "rehearsal"):
            yield stack.slot_env_file(slot), "0600", "root"
    for slot in SLOTS:
        if not stack.uses_images:
            yield stack.unit_file(slot), "0644", "root"
        release = slots.linked(stack, slot)
        if release is not None:
            base = stack.release_dir(release)
            yield base, "0755", "root"
            if not stack.uses_images:
                yield base / "server", "0755", "root"
            yield base / "env", "0600", "root"


def _standing(stack: Stack) -> Iterator[Finding]:
    pending = runs.load_pending(stack)
    if pending is not None:
        yield Finding(
            "pending-guard",
            f"{stack.name}: the switch to {pending.get('to')} waits for its confirmation; it is "
            "taken back by itself at the deadline",
            "no open switch",
            f"run {pending.get('run')}",
        )
    if stack.maintenance_file.exists():
        yield Finding(
            "maintenance-on",
            f"{stack.name} is in maintenance, nginx answers 503; `stackpin maintenance off`",
            "off",
            "on",
        )


def _is_elf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


def _sha256(path: Path) -> str | None:
    try:
        return disk.sha256(path)
    except OSError:
        return None
