"""A rehearsal in a systemd unit that sees the copies and nothing that is live."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path

from stackpin.host import disk, slots, units
from stackpin.host.errors import failed
from stackpin.host.rehearsal import SLOT
from stackpin.host.stack import Stack
from stackpin.host.system import run as run_program

__all__ = ["drop_in", "hand_over", "left", "put_up", "take_down"]


def put_up(stack: Stack, release: str) -> None:
    """Begin to start the release in its closed-off unit."""
    _write_drop_in(stack, release)
    slots.install(stack, SLOT, release)
    units.start(stack, SLOT)


def hand_over(stack: Stack, path: Path) -> None:
    """Give a copy, or their folder, to the service's user."""
    os.chown(path, *_owner(stack.user))


def left(stack: Stack) -> bool:
    """Tell whether a part of the unit is there."""
    traces = (drop_in(stack).parent, stack.unit_file(SLOT), stack.slot_link(SLOT))
    return any(path.exists() or path.is_symlink() for path in traces)


def take_down(stack: Stack) -> None:
    """Stop the unit and remove it, whatever there is of it."""
    if left(stack):
        units.stop(stack, SLOT)
        if stack.unit_file(SLOT).parent.is_dir():
            disk.remove_file(stack.unit_file(SLOT))
        shutil.rmtree(drop_in(stack).parent, ignore_errors=True)
        run_program(["systemctl", "reset-failed", stack.unit(SLOT)], check=False)
        units.reload()
    slots.unlink(stack, SLOT)


def drop_in(stack: Stack) -> Path:
    """Return the drop-in that keeps a rehearsal away from the live data."""
    unit = stack.unit_file(SLOT)
    return unit.parent / f"{unit.name}.d" / "rehearsal.conf"


def _write_drop_in(stack: Stack, release: str) -> None:
    folder, hidden = f"{stack.data}/rehearsal", _hidden(stack)
    text = (stack.release_dir(release) / "unit").read_text(encoding="utf-8")
    seen = [value for value in _values(text, "BindReadOnlyPaths") if not _below(value, hidden)]
    lines = [
        "# A rehearsal may touch nothing but its copies.",
        "[Service]",
        "Restart=no",
        "StateDirectory=",
        f"WorkingDirectory={_start_place(text, hidden) or folder}",
        "BindPaths=",  # forgets the read-only ones, too
        *(f"BindReadOnlyPaths={value}" for value in seen),
        "ReadWritePaths=",
        f"ReadWritePaths={folder}",
        *(f"InaccessiblePaths=-{path}" for path in hidden),
        "",
    ]
    path = drop_in(stack)
    disk.make_dir(path.parent)
    disk.atomic_write(path, "\n".join(lines).encode(), 0o644)


def _hidden(stack: Stack) -> list[str]:
    """List what is live: the stack's data, and the directory of a database that lies elsewhere."""
    found = [f"{stack.data}/data"]
    if stack.database and not _below(stack.database, found):
        found.append(str(Path(stack.database).parent))
    return [*found, stack.repo_root] if stack.repo_root else found


def _start_place(unit: str, hidden: list[str]) -> str | None:
    """Return the unit's own directory when it has one: its files may be read relative to it."""
    place = next(reversed(_values(unit, "WorkingDirectory")), "/")
    return None if place == "/" or _below(place, hidden) else place


def _values(unit: str, name: str) -> list[str]:
    rows = (line.partition("=") for line in unit.splitlines())
    return [value.strip() for key, _, value in rows if key == name and value.strip()]


def _below(path: str, folders: list[str]) -> bool:
    """Tell whether a path, perhaps with a mark before it, is one of the folders or in one."""
    place = Path(path.lstrip("-").partition(":")[0])
    return any(place.is_relative_to(folder) for folder in folders)


def _owner(user: str) -> tuple[int, int]:
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise failed(f"user {user}: does not exist on this host; deploy the stack again") from None
    return entry.pw_uid, entry.pw_gid
