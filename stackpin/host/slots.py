"""The two slots: which one is live, what each one runs, and the one file that decides."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from pathlib import Path

from stackpin.host import disk, units
from stackpin.host.errors import failed, refused
from stackpin.host.mutex import state_dir
from stackpin.host.stack import SLOTS, Stack
from stackpin.host.system import run

__all__ = [
    "established",
    "flip",
    "holder_of",
    "install",
    "link",
    "linked",
    "live_slot",
    "other",
    "port_of",
    "port_open",
    "require_free",
    "sharing",
    "unlink",
]

_ESTABLISHED = "01"
FREE_WAIT = 2.0  # seconds
FREE_POLL = 0.05


def live_slot(stack: Stack) -> str:
    """Return the slot nginx sends requests to."""
    return "green" if stack.slot_file.exists() else "blue"


def other(slot: str) -> str:
    """Return the slot that is not this one."""
    return SLOTS[1 - SLOTS.index(slot)]


def flip(stack: Stack, slot: str) -> bool:
    """Make `slot` the live one, in one step and durably; False when it was already."""
    state_dir(stack)
    if live_slot(stack) == slot:
        return False
    if slot == "green":
        disk.atomic_write(stack.slot_file, b"", mode=0o644)
    else:
        disk.remove_file(stack.slot_file)
    return True


def linked(stack: Stack, slot: str) -> str | None:
    """Return the release a slot is to run, None when it has none."""
    try:
        return Path(stack.slot_link(slot).readlink()).name
    except OSError:
        return None


def link(stack: Stack, slot: str, release: str) -> None:
    """Let a slot run a release from its next start on."""
    disk.make_dir(stack.slots_dir)
    if linked(stack, slot) != release:
        disk.replace_link(stack.slot_link(slot), f"../releases/{release}")


def unlink(stack: Stack, slot: str) -> None:
    """Let a slot run nothing."""
    with contextlib.suppress(NotADirectoryError, FileNotFoundError):
        disk.remove_file(stack.slot_link(slot))


def install(stack: Stack, slot: str, release: str) -> None:
    """Link a stopped slot to a release and give it that release's unit."""
    link(stack, slot, release)
    text = (stack.release_dir(release) / "unit").read_bytes()
    path = stack.unit_file(slot)
    disk.make_dir(path.parent)
    if not path.is_file() or path.read_bytes() != text:
        disk.atomic_write(path, text, mode=0o644)
    # Always: a run killed just before its reload would leave systemd with the older unit.
    units.reload()


def port_of(stack: Stack, slot: str) -> int:
    """Return the loopback port of a slot. Raises HostError(refused) when stack.json has none."""
    try:
        return int(stack.ports[slot])
    except KeyError:
        raise refused(f"{stack.settings_file}: ports.{slot} is missing; deploy again") from None


def port_open(port: int, host: str = "127.0.0.1") -> bool:
    """Tell whether something answers on a port of this host or of a container's address."""
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False


def holder_of(port: int) -> str:
    """Name the program that listens on a port, as well as can be found out."""
    try:
        answer = run(["ss", "-Hltnp", f"sport = :{port}"], check=False, timeout=10).out
    except Exception:
        return "an unknown program"
    match = re.search(r'users:\(\("([^"]+)",pid=(\d+)', answer)
    return f"{match.group(1)} (pid {match.group(2)})" if match else "an unknown program"


def established(port: int, tables: Path = Path("/proc/net")) -> int:
    """Count the connections that clients have with a port; tables: of another network."""
    count = 0
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for row in (tables / table).read_text(encoding="ascii").splitlines()[1:]:
                cells = row.split()
                if cells[3] == _ESTABLISHED and int(cells[1].rpartition(":")[2], 16) == port:
                    count += 1
    return count


def sharing(stack: Stack, slot: str) -> tuple[str, ...]:
    """Return the slots that have a slot's port: both of a stack that runs one at a time."""
    port = port_of(stack, slot)
    return tuple(name for name in SLOTS if port_of(stack, name) == port)


def require_free(port: int) -> None:
    """Raise HostError(error) naming the holder when a port stays taken.

    What was stopped a moment ago may leave a child that takes that moment to go.
    """
    deadline = time.monotonic() + FREE_WAIT
    while port_open(port):
        if time.monotonic() > deadline:
            raise failed(
                f"port {port}: taken by {holder_of(port)}, expected free; stop that program or "
                "change the stack's ports",
                port=port,
            )
        time.sleep(FREE_POLL)
