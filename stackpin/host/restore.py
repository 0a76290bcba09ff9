"""Put a backup's database back, and the present one again when the service does not bear it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from stackpin.host import (
    data_users,
    disk,
    journal,
    members,
    pointer,
    restore_postgres,
    room,
    runs,
    snapshot,
    sqlite_db,
)
from stackpin.host.backup import backup, fetched
from stackpin.host.errors import HostError, broken, failed, gate_failed, refused
from stackpin.host.progress import say
from stackpin.host.restic import Repository
from stackpin.host.stack import Stack

__all__ = ["COMMANDS", "restore"]


def restore(stack: Stack, payload: dict[str, Any]) -> dict[str, Any]:
    """Show what a restore would lose, or do it.

    payload: {id: backup, "latest" or null, dry: bool, confirm_token (from the dry answer), who}.
    Dry returns {id, snapshot, time, release, release_now, schema_version: {now, then}, lost:
    {table: {now, then}} (tables whose row counts differ; now is null when the database cannot be
    read), rows: {table: rows then}, maintenance, confirm_token}. Otherwise maintenance must be
    on; the answer adds {safety: id of the backup made first, or null, kept: path of a damaged
    database, or null, gate, seconds}.

    Raises HostError: refused (nothing was touched; also for a damaged backup), gate (the safety
    backup failed or the restored database did not serve; the old one does again), broken (neither
    does; maintenance stays on).
    """
    if not stack.database and not stack.postgres:
        raise refused(f"stack {stack.name} has no database to restore")
    wanted = payload.get("id")
    repository = Repository(stack)
    repository.require_program()
    chosen = repository.find(None if wanted in {None, "latest"} else str(wanted))
    with fetched(stack, repository, str(chosen["id"])) as (directory, meta):
        damaged = snapshot.problems(directory, meta, stack)
        if damaged or not meta.get("database"):
            why = damaged[0] if damaged else "it holds no database"
            raise refused(f"backup {chosen['id'][:8]}: cannot be restored: {why}", problems=damaged)
        view = _view(stack, chosen, meta)
        if payload.get("dry"):
            return view
        _allowed(stack, payload, view)
        if stack.postgres:
            restore_postgres.require_room(stack)
            with data_users.held(stack):
                _allowed(stack, payload, view)
                return {**view, **restore_postgres.perform(stack, directory, view, payload)}
        # Now, while the service still runs: what is put back, and the safety backup's copy.
        database, source = stack.at(str(stack.database)), directory / snapshot.DATABASE
        need = source.stat().st_size + room.database_bytes(database)
        room.require(database.parent, need, "the restored database and a copy of the present one")
        with data_users.held(stack):
            _allowed(stack, payload, view)
            return {**view, **_perform(stack, source, view, payload)}


def _view(stack: Stack, chosen: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    now, version_now = restore_postgres.now(stack) if stack.postgres else _now(stack)
    then: dict[str, int] = meta["database"]["tables"]
    names = sorted({*then, *(now or {})})
    rows = {
        n: {"now": None if now is None else now.get(n, 0), "then": then.get(n, 0)} for n in names
    }
    release_now = pointer.live_release(stack)
    seed = f"{stack.name} {chosen['id']} {release_now}"
    return {
        "id": str(chosen["id"])[:8],
        "snapshot": chosen["id"],
        "time": chosen["time"],
        "release": meta.get("live_release"),
        "release_now": release_now,
        "schema_version": {"now": version_now, "then": meta["database"]["schema_version"]},
        "lost": {name: row for name, row in rows.items() if row["now"] != row["then"]},
        "rows": then,
        "maintenance": stack.maintenance_file.exists(),
        "confirm_token": hashlib.sha256(seed.encode()).hexdigest()[:16],
    }


def _now(stack: Stack) -> tuple[dict[str, int] | None, str | None]:
    with (
        contextlib.suppress(sqlite3.Error),
        closing(sqlite_db.open_read_only(stack.at(str(stack.database)))) as db,
    ):
        return sqlite_db.row_counts(db), sqlite_db.schema_version(db)
    return None, None


def _allowed(stack: Stack, payload: dict[str, Any], view: dict[str, Any]) -> None:
    if payload.get("confirm_token") != view["confirm_token"]:
        raise refused(
            f"restore of {view['id']}: confirm_token is missing or not that of this backup and "
            "the release that is live; look at a dry run first"
        )
    if not stack.maintenance_file.exists():
        raise refused(
            f"stack {stack.name} is not in maintenance; clients would write into a database that "
            "is about to be replaced: `stackpin maintenance on` first"
        )
    for one in (stack, *members.installed(stack)):
        run = runs.load(one)
        if not runs.ended(run) or runs.load_pending(one) is not None:
            raise refused(
                f"stack {one.name}: run {(run or {}).get('run')} is not finished; finish or abort "
                "it before a restore"
            )


def _perform(
    stack: Stack, source: Path, view: dict[str, Any], payload: dict[str, Any]
) -> dict[str, Any]:
    started = time.monotonic()
    say(f"stopping {stack.name}")
    database = stack.at(str(stack.database))
    aside: Path | None = None
    try:
        data_users.stop(stack)
        sound = _is_sound(database)
        reason = f"before restore of {view['id']}"
        safety = backup(stack, {"reason": reason, "who": payload.get("who")}) if sound else None
        aside = _replace(database, source, sound=sound)
        gate = data_users.serve(stack)
    except HostError as problem:
        raise _put_back(stack, database, aside, problem) from problem
    except OSError as problem:
        raise _put_back(stack, database, aside, failed(str(problem))) from problem
    kept = None
    if sound and aside is not None:
        disk.remove_file(aside)  # the safety backup has it
    elif aside is not None:
        kept = str(aside)
    journal.append(
        stack,
        "restore",
        release=view["release_now"],
        who=payload.get("who"),
        command="restore",
        reason=f"backup {view['id']} of {view['time']}",
        safety=safety["id"] if safety else None,
    )
    return {
        "safety": safety["id"] if safety else None,
        "kept": kept,
        "gate": gate,
        "seconds": round(time.monotonic() - started, 3),
    }


def _is_sound(database: Path) -> bool:
    """Ask whether the stopped database can be read, after taking in what its WAL still holds.

    Without a WAL beside it the file alone is the database, so renaming it is enough: a WAL left
    beside another file would be played into it.
    """
    if not database.is_file():
        return False
    try:
        sqlite_db.require_plain(database)
        with closing(sqlite3.connect(database)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return sqlite_db.integrity(db) == "ok"
    except sqlite3.Error:
        return False


def _replace(database: Path, source: Path, *, sound: bool) -> Path | None:
    """Put `source` in the database's place in one step; return where the previous one is."""
    owner = database.parent.stat()
    new = database.with_name(f".{database.name}.restoring")
    try:
        # The directory is the service's: what has this name may be a link it planted.
        disk.copy_new(source, new, 0o600, (owner.st_uid, owner.st_gid))
    except OSError:
        new.unlink(missing_ok=True)
        raise
    aside = None
    if os.path.lexists(database):
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        aside = database.with_name(f"{database.name}.{'before' if sound else 'damaged'}-{stamp}")
        aside.unlink(missing_ok=True)
        if not sound:
            # What the damaged one's WAL holds may be all that can be saved of it.
            for end in ("-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    database.with_name(database.name + end).rename(
                        aside.with_name(aside.name + end)
                    )
        os.link(database, aside, follow_symlinks=False)
    _drop_wal(database)
    new.rename(database)
    disk.sync_dir(database.parent)
    return aside


def _drop_wal(database: Path) -> None:
    for end in ("-wal", "-shm", "-journal"):
        database.with_name(database.name + end).unlink(missing_ok=True)


def _put_back(stack: Stack, database: Path, aside: Path | None, problem: HostError) -> HostError:
    """Return to the database before the restore; make the error that tells how it ended."""
    say(f"restore failed, putting the previous database back: {problem.message}")
    try:
        data_users.stop(stack)
        if aside is not None:
            _drop_wal(database)
            for end in ("-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    aside.with_name(aside.name + end).rename(
                        database.with_name(database.name + end)
                    )
            aside.rename(database)
            disk.sync_dir(database.parent)
        data_users.serve(stack)
    except (HostError, OSError) as worse:
        return broken(
            f"restore of {stack.name} failed ({problem.message}) and the previous database does "
            f"not serve: {worse}; maintenance stays on, look at the unit's log now",
            **problem.detail,
        )
    told = f"restore of {stack.name} failed, the previous database serves: {problem.message}"
    return gate_failed(told, **problem.detail)


COMMANDS = {"restore": restore}
