"""The dress rehearsal: the new release against copies of the live data, in a closed-off place.

What place that is, a unit or a container, is the driver's: its `Scene`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from stackpin.host import disk, room, slots, sqlite_db
from stackpin.host.errors import failed
from stackpin.host.mutex import flock, state_dir
from stackpin.host.progress import say
from stackpin.host.stack import Stack
from stackpin.host.system import run as run_program
from stackpin.host.waiting import Still, Target, wait_healthy, wait_ready

__all__ = ["SLOT", "Scene", "clean", "rehearse"]

SLOT = "rehearsal"
LOCK_WAIT = 90.0  # seconds; an overtaken rehearsal notices within a round and cleans up


class Scene(Protocol):
    """Where a release is rehearsed; its functions may be killed at any point and called again."""

    def put_up(self, stack: Stack, release: str) -> None:
        """Begin to start the release, on the port of the slot `rehearsal`."""

    def take_down(self, stack: Stack) -> None:
        """Stop and remove all that was put up."""

    def left(self, stack: Stack) -> bool:
        """Tell whether something of it is there."""

    def hand_over(self, stack: Stack, path: Path) -> None:
        """Let the service, and nobody else, write to a copy or their folder."""


def rehearse(stack: Stack, release: str, still: Still, scene: Scene) -> dict[str, Any]:
    """Start `release` on copies, wait until it is healthy, remove everything.

    Returns {ready: seconds, gate, rounds, seconds, copied: {database, repository}} (bytes or
    null). Raises HostError(gate) with the check, its answer and the last log lines.
    """
    with flock(state_dir(stack) / "rehearsal.lock", timeout=LOCK_WAIT):
        _remove(stack, scene)
        try:
            with _not_ours_if_gone(still):
                copied = _copy(stack, scene)
                slots.require_free(slots.port_of(stack, SLOT))
                began = time.time()
                scene.put_up(stack, release)
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
            _remove(stack, scene)
    return {"ready": ready, "copied": copied, **proof}


def clean(stack: Stack, scene: Scene) -> None:
    """Remove what a killed rehearsal left; does nothing when there is nothing."""
    if not (scene.left(stack) or _has_copies(stack)):
        return
    with flock(state_dir(stack) / "rehearsal.lock", timeout=LOCK_WAIT):
        _remove(stack, scene)


def _has_copies(stack: Stack) -> bool:
    return stack.rehearsal_dir.is_dir() and any(stack.rehearsal_dir.iterdir())


@contextlib.contextmanager
def _not_ours_if_gone(still: Still) -> Iterator[None]:
    still()
    try:
        yield
    except Exception:
        # An abort that removed things under us explains the error better than the error does.
        still()
        raise


def _copy(stack: Stack, scene: Scene) -> dict[str, int | None]:
    folder = stack.rehearsal_dir
    disk.make_dir(folder, 0o700)
    # Root's until the copy is there: nobody can plant a link for root to write through.
    os.chown(folder, 0, 0)
    try:
        _empty(folder)
        sizes: dict[str, int | None] = {"database": _copy_database(stack, scene)}
    finally:
        scene.hand_over(stack, folder)
    sizes["repository"] = None
    repository = stack.at(stack.repo_root) if stack.repo_root else None
    if repository is not None and repository.is_dir():
        # As the service's user: root must not run a hook or a filter of a repository it does not
        # own, and git refuses foreign ones unless told otherwise.
        settings = folder / ".gitconfig"
        disk.atomic_write(settings, b"[safe]\n\tdirectory = *\n", 0o644)
        scene.hand_over(stack, settings)
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


def _copy_database(stack: Stack, scene: Scene) -> int | None:
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
    scene.hand_over(stack, copy)
    return copy.stat().st_size


def _remove(stack: Stack, scene: Scene) -> None:
    scene.take_down(stack)
    if stack.rehearsal_dir.is_dir():
        _empty(stack.rehearsal_dir)


def _empty(folder: Path) -> None:
    for item in folder.iterdir():
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item, ignore_errors=True)
        else:
            item.unlink(missing_ok=True)
