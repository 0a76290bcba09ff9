"""The SQLite file that four services share: one connection in each, short transactions."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .schema import create
from .settings import Settings

__all__ = ["Database"]


class Database:
    """One connection, used by one thread at a time."""

    def __init__(self, settings: Settings, schema: int) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(
            settings.database,
            timeout=settings.busy_seconds,
            isolation_level=None,  # transactions are begun by name, never behind our back
            check_same_thread=False,
        )
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA foreign_keys = on")
        if settings.wal:
            self._enter_wal(settings.busy_seconds)
        create(self._connection, schema)

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for a read."""
        with self._lock:
            yield self._connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Give a write transaction: committed when the block ends well, else taken back."""
        with self._lock:
            # The lock first: a read that turns into a write could not wait for it.
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the connection; the last process to do so folds the log into the file."""
        with self._lock:
            self._connection.close()

    def _enter_wal(self, seconds: float) -> None:
        # SQLite does not wait for this lock by itself, and five services start together.
        deadline = time.monotonic() + seconds
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
