"""The ways a host can differ from what was deployed on it, each with its code.

stray-listener, slot-journal-disagreement, unfinished-run, release-modified, mode-wrong,
pending-guard, maintenance-on; database-damaged and docker-not-answering (made in inspect.py); those
of units (unit_findings.py) and of containers (drivers/looking.py, compose_state.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stackpin.host import (
    compose_state,
    journal,
    owners,
    pointer,
    releases,
    runs,
    slots,
    unit_findings,
)
from stackpin.host.drivers import looking
from stackpin.host.drivers.docker import Container
from stackpin.host.reading import Finding, Reading, UnitState
from stackpin.host.stack import SLOTS, Stack

__all__ = ["Finding", "Reading", "UnitState", "look"]


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
        found += unit_findings.look(reading, busy=busy)
    found += _journal(reading, busy)
    found += _releases(reading)
    found += _listeners(reading)
    found += _modes(reading.stack)
    found += _standing(reading.stack)
    return found


def _journal(reading: Reading, busy: bool) -> Iterator[Finding]:
    """Compare what is live with the last release that was proven, unless a run is open."""
    stack = reading.stack
    proven = [line for line in journal.read(stack) if line["event"] == "confirmed"]
    if busy:
        return
    if not proven:
        if pointer.live_release(stack) is not None:
            yield Finding(
                "slot-journal-disagreement",
                f"{stack.name}: the journal says of no release that it was confirmed; "
                f"{stack.journal_file} was cut or removed: put it back from a copy",
                "a confirmed release",
                "none",
            )
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
        wanted = releases.sums(stack, release).get(names[0])
        found = unit_findings.digest(base / names[0])
        if wanted and found and names[0] == "env":  # its digest would let one try out guesses
            wanted, found = "of what was uploaded", "of something else"
        yield Finding(
            "release-modified",
            f"{base}/{names[0]}{more} is not what was uploaded; deploy again",
            f"sha256 {wanted}" if wanted else "absent",
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
