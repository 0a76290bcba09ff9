"""Looking into a SQLite database, and copying one that is in use."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
from contextlib import closing
from pathlib import Path


def require_plain(path: Path) -> None:
    """Refuse a database whose name, or a companion's, is no plain file.

    It lies in a directory of the service, which could plant a link there: root would then read,
    or in a checkpoint even write, a file of somebody else. Raises sqlite3.Error.
    """
    for end in ("", "-wal", "-shm", "-journal"):
        part = path.with_name(path.name + end)
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(part.lstat().st_mode):
                raise sqlite3.OperationalError(f"{part}: a link or no file, expected a plain file")


def open_read_only(path: Path, timeout: float = 5.0) -> sqlite3.Connection:
    """Open a database without the right to change it; `timeout` is the busy timeout in seconds.

    Raises sqlite3.Error.
    """
    require_plain(path)
    database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=timeout)
    # A second wall: even a mistake here cannot write.
    database.execute("PRAGMA query_only = ON")
    return database


def open_at_rest(path: Path) -> sqlite3.Connection:
    """Open a database nobody uses, without making a -wal or -shm beside it.

    Raises sqlite3.Error.
    """
    return sqlite3.connect(f"{path.resolve().as_uri()}?immutable=1", uri=True)


def integrity(database: sqlite3.Connection) -> str:
    """Return "ok", or what SQLite found wrong first."""
    try:
        return str(database.execute("PRAGMA integrity_check(1)").fetchone()[0])
    except sqlite3.DatabaseError as problem:
        return str(problem)


def table_names(database: sqlite3.Connection) -> list[str]:
    """List the tables an application made, sorted; SQLite's own are left out."""
    rows = database.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' "
        "ESCAPE '\\' ORDER BY name"
    )
    return [str(row[0]) for row in rows]


def row_counts(database: sqlite3.Connection) -> dict[str, int]:
    """Count the rows of every table, {table: rows}, all in one snapshot."""
    with database:
        database.execute("BEGIN")
        return {
            name: int(database.execute(f"SELECT count(*) FROM {_quoted(name)}").fetchone()[0])  # noqa: S608
            for name in table_names(database)
        }


def schema_version(database: sqlite3.Connection) -> str | None:
    """Return the newest row of schema_migrations, None where there is no such table."""
    columns = [str(row[1]) for row in database.execute("PRAGMA table_info(schema_migrations)")]
    if not columns:
        return None
    column = _quoted("version" if "version" in columns else columns[0])
    row = database.execute(f"SELECT max({column}) FROM schema_migrations").fetchone()  # noqa: S608
    return None if row[0] is None else str(row[0])


def copy(source: Path, target: Path, timeout: float = 30.0) -> None:
    """Copy a database that may be in use, as of one moment, WAL included.

    One step of the backup API: writers of a WAL database go on meanwhile, and every row
    acknowledged before the call is in the copy. `timeout` (seconds) is how long a writer that
    holds the database is waited for. Raises sqlite3.Error.
    """
    with closing(open_read_only(source, timeout)) as live, closing(sqlite3.connect(target)) as new:
        live.backup(new, pages=-1)
        # Sync before anybody relies on it; close folds a WAL the copy may have inherited.
        new.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
