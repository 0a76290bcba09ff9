"""PostgreSQL through psycopg2: a small pool of connections, one statement or a transaction."""

import importlib
import queue
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from .settings import Settings

__all__ = ["Database", "Postgres", "Run", "Taken", "Unavailable"]

POOL = 12
CONNECT_SECONDS = 5

Row = tuple[Any, ...]
Run = Callable[[str, Sequence[Any]], list[Row]]
"""Runs one statement with its parameters; the rows, or an empty list."""


class Taken(Exception):  # noqa: N818 - reads as what happened
    """A unique constraint was violated; its name is the argument."""


class Unavailable(Exception):  # noqa: N818 - reads as what happened
    """The database cannot be reached or refuses us."""


class Database(Protocol):
    """What the rest of the server needs of a database."""

    def query(self, sql: str, *values: Any) -> list[Row]:  # noqa: ANN401
        """Run one statement in a transaction of its own."""
        ...

    def transaction(self) -> Any:  # noqa: ANN401 - a context manager that gives `Run`
        """Run several statements together: `with database.transaction() as run`."""
        ...


class Postgres:
    """The real one."""

    def __init__(self, settings: Settings) -> None:
        self._driver: Any = importlib.import_module("psycopg2")
        self._settings = settings
        self._free: queue.LifoQueue[Any] = queue.LifoQueue()
        for _ in range(POOL):
            self._free.put(None)

    def query(self, sql: str, *values: Any) -> list[Row]:  # noqa: ANN401
        """Run one statement; repeated once when the connection had been lost meanwhile."""
        for attempt in (1, 2):
            try:
                with self.transaction() as run:
                    return run(sql, values)
            except Unavailable:
                if attempt == 2:
                    raise
        return []

    @contextmanager
    def transaction(self) -> Iterator[Run]:
        """Commit at the end, roll back on any error."""
        connection = self._free.get()
        broken = True
        try:
            connection = connection or self._connect()
            with connection, connection.cursor() as cursor:
                yield lambda sql, values: self._run(cursor, sql, values)
            broken = False
        except self._driver.errors.UniqueViolation as error:
            broken = False
            raise Taken(error.diag.constraint_name) from error
        except (self._driver.OperationalError, self._driver.InterfaceError) as error:
            raise Unavailable(str(error).strip()) from error
        finally:
            if broken and connection is not None:
                connection.close()
            self._free.put(None if broken else connection)

    @staticmethod
    def _run(cursor: Any, sql: str, values: Sequence[Any]) -> list[Row]:  # noqa: ANN401
        cursor.execute(sql, tuple(values))
        return list(cursor.fetchall()) if cursor.description else []

    def _connect(self) -> Any:  # noqa: ANN401
        chosen = self._settings
        return self._driver.connect(
            host=chosen.db_host,
            port=chosen.db_port,
            dbname=chosen.db_name,
            user=chosen.db_user,
            password=chosen.db_password,
            connect_timeout=CONNECT_SECONDS,
            # As the real one: it never speaks TLS to its database.
            sslmode="disable",
        )
