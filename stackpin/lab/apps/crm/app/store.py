"""The SQLite file: a small pool of connections, short transactions, writers one at a time.

Two processes share the file while one release takes over from the other. So it is in WAL mode,
every write takes its lock at the beginning (a read that turns into a write could not wait for
the lock, it would fail at once) and one connection stays open for the life of the process, as
the last one to close would otherwise fold the log back at an arbitrary moment.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from .settings import Dsn

POOL_SIZE = 8


def now() -> str:
    """Return the present moment as it is stored: UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Database:
    """Connections to one file. Use `read()` and `write()`, each for one short piece of work."""

    def __init__(self, dsn: Dsn) -> None:
        self.dsn = dsn
        self._anchor = self._connect()
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(POOL_SIZE)
        self._writing = threading.Lock()
        self.active = 0

    @property
    def anchor(self) -> sqlite3.Connection:
        """The connection that is always open, for work at the start of the process."""
        return self._anchor

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Return a connection for reading; each statement sees a consistent state."""
        with self._slots:
            with self._lock:
                self.active += 1
                connection = self._idle.pop() if self._idle else None
            try:
                connection = connection or self._connect()
                yield connection
            finally:
                with self._lock:
                    self.active -= 1
                    if connection is not None:
                        self._idle.append(connection)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Return a write transaction: committed when the block ends well, else taken back."""
        # SQLite's own waiting is not fair; within the process a lock is, and it is cheaper.
        with self._writing, self.read() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close every connection; the last process to do so folds the log into the file."""
        with self._lock:
            for connection in self._idle:
                connection.close()
            self._idle.clear()
        self._anchor.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.dsn.path,
            timeout=self.dsn.busy_timeout_ms / 1000,
            isolation_level=None,  # transactions are begun by name, never behind our back
            check_same_thread=False,
        )
        connection.row_factory = sqlite3.Row
        connection.execute(f"PRAGMA foreign_keys = {int(self.dsn.foreign_keys)}")
        connection.execute(f"PRAGMA synchronous = {self.dsn.synchronous}")
        self._enter_wal(connection)
        return connection

    def _enter_wal(self, connection: sqlite3.Connection) -> None:
        """Set WAL mode. SQLite does not wait for this lock by itself, so the wait is here."""
        deadline = time.monotonic() + self.dsn.busy_timeout_ms / 1000
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
