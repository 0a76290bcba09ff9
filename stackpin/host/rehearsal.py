"""The dress rehearsal: the new release against copies of the live data, in a closed-off unit."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stackpin.host import disk, room, slots, sqlite_db, units
from stackpin.host.errors import failed
from stackpin.host.mutex import flock, state_dir
from stackpin.host.progress import say
from stackpin.host.stack import Stack
from stackpin.host.system import run as run_program
from stackpin.host.waiting import Still, Target, wait_healthy, wait_ready

__all__ = ["SLOT", "clean", "rehearse"]

SLOT = "rehearsal"
LOCK_WAIT = 90.0  # seconds; an overtaken rehearsal notices within a round and cleans up


def rehearse(stack: Stack, release: str, still: Still) -> dict[str, Any]:
    """Start `release` on copies, wait until it is healthy, remove everything.

    Returns {ready: seconds, gate, rounds, seconds, copied: {database, repository}} (bytes or
    null). Raises HostError(gate) with the check, its answer and the last log lines.
    """
    with flock(state_dir(stack) / "rehearsal.lock", timeout=LOCK_WAIT):
        _remove(stack)
        try:
            with _not_ours_if_gone(still):
                copied = _copy(stack)
                slots.require_free(slots.port_of(stack, SLOT))
                _write_drop_in(stack, release)
                slots.install(stack, SLOT, release)
                began = time.time()
                units.start(stack, SLOT)
                say(f"rehearsing {release} on a copy of the data")
                target = Target(stack, SLOT, release, since=began)
                ready = wait_ready(target, "rehearsal", stack.start_timeout, still)
                proof = wait_healthy(
                    target,
                    "rehearsal",
                    where={"slot"},
                    min_healthy=0.0,
                    timeout=stack.gate.timeout,
                    still=still,
                )
        finally:
            _remove(stack)
    return {"ready": ready, "copied": copied, **proof}


def clean(stack: Stack) -> None:
    """Remove what a killed rehearsal left; does nothing when there is nothing."""
    if stack.is_static or not (_has_unit(stack) or _has_copies(stack)):
        return
    with flock(state_dir(stack) / "rehearsal.lock", timeout=LOCK_WAIT):
        _remove(stack)


def _has_unit(stack: Stack) -> bool:
    traces = (drop_in(stack).parent, stack.unit_file(SLOT), stack.slot_link(SLOT))
    return any(path.exists() or path.is_symlink() for path in traces)


def _has_copies(stack: Stack) -> bool:
    return stack.rehearsal_dir.is_dir() and any(stack.rehearsal_dir.iterdir())


def drop_in(stack: Stack) -> Path:
    """Return the drop-in that keeps a rehearsal away from the live data."""
    unit = stack.unit_file(SLOT)
    return unit.parent / f"{unit.name}.d" / "rehearsal.conf"


@contextlib.contextmanager
def _not_ours_if_gone(still: Still) -> Iterator[None]:
    still()
    try:
        yield
    except Exception:
        # An abort that removed things under us explains the error better than the error does.
        still()
        raise


def _copy(stack: Stack) -> dict[str, int | None]:
    folder = stack.rehearsal_dir
    owner = _owner(stack.user)
    disk.make_dir(folder, 0o700)
    # Root's until the copy is there: nobody can plant a link for root to write through.
    os.chown(folder, 0, 0)
    try:
        _empty(folder)
        sizes: dict[str, int | None] = {"database": _copy_database(stack, owner)}
    finally:
        os.chown(folder, *owner)
    sizes["repository"] = None
    repository = stack.at(stack.repo_root) if stack.repo_root else None
    if repository is not None and repository.is_dir():
        # As the service's user: root must not run a hook or a filter of a repository it does not
        # own, and git refuses foreign ones unless told otherwise.
        settings = folder / ".gitconfig"
        disk.atomic_write(settings, b"[safe]\n\tdirectory = *\n", 0o644, owner)
        run_program(
            ["git", "clone", "--quiet", "--local", "--no-hardlinks", str(repository),
             str(folder / "repo")],
            timeout=120,
            env={"HOME": str(folder), "GIT_CONFIG_GLOBAL": str(settings)},
            cwd=folder,
            user=stack.user,
        )  # fmt: skip
        sizes["repository"] = sum(
            p.stat().st_size for p in (folder / "repo").rglob("*") if p.is_file()
        )
    return sizes


def _copy_database(stack: Stack, owner: tuple[int, int]) -> int | None:
    database = stack.at(stack.database) if stack.database else None
    if database is None or not database.is_file():
        return None
    folder = stack.rehearsal_dir
    room.require(folder, room.database_bytes(database), "a rehearsal's copy of the database")
    copy = folder / database.name
    try:
        sqlite_db.copy(database, copy)
    except sqlite3.Error as error:
        raise failed(f"{database}: could not be copied for the rehearsal: {error}") from error
    copy.chmod(0o600)
    os.chown(copy, *owner)
    return copy.stat().st_size


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


def _remove(stack: Stack) -> None:
    if _has_unit(stack):
        units.stop(stack, SLOT)
        if stack.unit_file(SLOT).parent.is_dir():
            disk.remove_file(stack.unit_file(SLOT))
        shutil.rmtree(drop_in(stack).parent, ignore_errors=True)
        run_program(["systemctl", "reset-failed", stack.unit(SLOT)], check=False)
        units.reload()
    slots.unlink(stack, SLOT)
    if stack.rehearsal_dir.is_dir():
        _empty(stack.rehearsal_dir)


def _empty(folder: Path) -> None:
    for item in folder.iterdir():
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item, ignore_errors=True)
        else:
            item.unlink(missing_ok=True)


def _owner(user: str) -> tuple[int, int]:
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise failed(f"user {user}: does not exist on this host; deploy the stack again") from None
    return entry.pw_uid, entry.pw_gid
