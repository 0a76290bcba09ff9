"""What a backup holds: a consistent database, the settings of the stack, and a list of both.

A snapshot directory has meta.json, database.sqlite or database.dump (when the stack has a database
of that kind), stack.json, slots/, releases.jsonl, env_files/ and release/ (what the live release
has but its program), and the same of each member below members/<stack>/.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from stackpin.host import disk, members, pointer, postgres, room, sqlite_db
from stackpin.host.clock import now_text
from stackpin.host.errors import HostError, failed
from stackpin.host.scratch import scratch
from stackpin.host.stack import Stack

__all__ = ["DATABASE", "DUMP", "META", "build", "database_summary", "problems", "read_meta"]

META = "meta.json"
DATABASE = "database.sqlite"
DUMP = "database.dump"


def build(stack: Stack, target: Path, *, reason: str, release: str | None) -> dict[str, Any]:
    """Fill the empty private directory `target`; return meta.json.

    meta: {stack, release, live_release, reason, created, database: {path, size, tables: {name:
    rows}, schema_version, [engine, proven]} or null, files: {name: sha256}}. proven: how a dump was
    tried: "restored" into a scratch database, or "read". Raises HostError(refused): no room for the
    copy of the database; (error): that copy is not sound; nothing may be stored then.
    """
    live = pointer.live_release(stack)
    database = _copy_database(stack, target / DATABASE) or _dump(stack, target / DUMP)
    for source, name in _settings(stack, live):
        if source.is_file():
            (target / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copyfile(source, target / name)
            (target / name).chmod(0o600)
    files = sorted(path for path in target.rglob("*") if path.is_file())
    meta: dict[str, Any] = {
        "stack": stack.name,
        "release": release or live,
        "live_release": live,
        "reason": reason,
        "created": now_text(),
        "database": database,
        "files": {str(path.relative_to(target)): disk.sha256(path) for path in files},
    }
    disk.write_json(target / META, meta)
    return meta


def _copy_database(stack: Stack, copy: Path) -> dict[str, Any] | None:
    if not stack.database or not stack.at(stack.database).is_file():
        return None
    source = stack.at(stack.database)
    room.require(copy.parent, room.database_bytes(source), "a backup's copy of the database")
    try:
        sqlite_db.copy(source, copy)
        copy.chmod(0o600)
        return {"path": stack.database, **database_summary(copy)}
    except sqlite3.Error as problem:
        raise failed(
            f"{stack.database}: no backup was made, the database cannot be copied soundly: "
            f"{problem}; restore an earlier backup"
        ) from problem


def _dump(stack: Stack, target: Path) -> dict[str, Any] | None:
    database = postgres.database_of(stack)
    if database is None or pointer.live_release(stack) is None:
        return None  # before the first release there is nothing to keep
    if not database.present():
        raise failed(
            f"{database.place}: no backup was made, its container does not run; start it, or see "
            "`stackpin status`"
        )
    tables = database.dump(target)
    found, how = _tried(database, target, tables)
    if found:
        raise failed(f"{database.place}: no backup was made, the dump could not be proven: {found}")
    columns = database.columns()
    return {
        "engine": "postgres",
        "path": database.place,
        "size": target.stat().st_size,
        "tables": tables,
        "schema_version": postgres.fingerprint(columns),
        "proven": how,
    }


def _tried(
    database: postgres.Postgres, dump: Path, tables: dict[str, int]
) -> tuple[str | None, str]:
    """Restore a dump into a scratch database; return what is wrong, and how it was tried."""
    if not database.may_create or not database.present():
        return database.readable(dump), "read"
    try:
        with scratch(database, dump) as name:
            counts = database.counts(name)
    except HostError as problem:
        return problem.message, "restored"
    other = [name for name in sorted({*tables, *counts}) if tables.get(name) != counts.get(name)]
    if not other:
        return None, "restored"
    return f"other row counts in {', '.join(other[:5])} after restoring it", "restored"


def database_summary(path: Path) -> dict[str, Any]:
    """Return {size, tables: {name: rows}, schema_version} of a database nobody writes.

    Raises sqlite3.DatabaseError when it is damaged.
    """
    with closing(sqlite_db.open_at_rest(path)) as db:
        found = sqlite_db.integrity(db)
        if found != "ok":
            raise sqlite3.DatabaseError(found)
        tables = sqlite_db.row_counts(db)
        version = sqlite_db.schema_version(db)
    return {"size": path.stat().st_size, "tables": tables, "schema_version": version}


def _settings(stack: Stack, live: str | None) -> list[tuple[Path, str]]:
    """List the files that bring the stack back; restic's password is not among them.

    A key inside the box it opens helps nobody: the operator keeps it elsewhere.
    """
    found = [(stack.settings_file, "stack.json"), (stack.journal_file, "releases.jsonl")]
    for slot in ("blue", "green", "rehearsal"):
        found.append((stack.slot_env_file(slot), f"slots/{slot}.env"))
    if live is not None:
        names = ("env", "unit", "container.json", "compose.yml", "release.json")
        found += [(stack.release_dir(live) / name, f"release/{name}") for name in names]
    found += [(stack.at(path), f"env_files/{Path(path).name}") for path in stack.env_files]
    for member in members.installed(stack):
        of_it = _settings(member, pointer.live_release(member))
        found += [(source, f"members/{member.name}/{name}") for source, name in of_it]
    return found


def read_meta(directory: Path) -> dict[str, Any]:
    """Read meta.json of a restored snapshot. Raises HostError(error) when it has none."""
    meta = disk.read_json(directory / META)
    if meta is None or not isinstance(meta.get("files"), dict):
        raise failed(f"{directory / META}: absent or not readable; this is no Stackpin backup")
    return meta


def problems(directory: Path, meta: dict[str, Any], stack: Stack | None = None) -> list[str]:
    """List what a restored snapshot lacks beside its own meta.json: files, rows, soundness.

    stack: needed for a dump, which is tried in the stack's own PostgreSQL.
    """
    found = []
    for name, wanted in meta["files"].items():
        path = directory / name
        if not path.is_file():
            found.append(f"{name}: absent")
        elif disk.sha256(path) != wanted:
            found.append(f"{name}: not the content that was backed up")
    if (meta.get("database") or {}).get("engine") == "postgres":
        database = None if stack is None else postgres.database_of(stack)
        if database is None:
            return [*found, f"{DUMP}: stack.json names no database to try it with"]
        if not found:
            wrong, _ = _tried(database, directory / DUMP, meta["database"]["tables"])
            found += [f"{DUMP}: {wrong}"] if wrong else []
    elif meta.get("database"):
        try:
            tables = database_summary(directory / DATABASE)["tables"]
        except sqlite3.Error as problem:
            return [*found, f"{DATABASE}: {problem}"]
        if tables != meta["database"]["tables"]:
            found.append(f"{DATABASE}: other row counts than at the time of the backup")
    return found
