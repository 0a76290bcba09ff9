"""The rows the API works on, as plain dictionaries with the names of the columns."""

from collections.abc import Mapping
from typing import Any, Protocol

from .database import Database

__all__ = ["SqlStore", "Store", "Worker"]

Worker = dict[str, Any]
"""id, name, ip_address, ssh_port, username, password, is_local, status, created_at, updated_at."""

WORKER = (
    *("id", "name", "ip_address", "ssh_port", "username", "password"),
    *("is_local", "status", "created_at", "updated_at"),
)
# inet prints its netmask unless it is asked for the address alone.
SELECTED = ", ".join("host(ip_address)" if name == "ip_address" else name for name in WORKER)


class Store(Protocol):
    """What the API needs of the database. `Taken` from writing what must be unique."""

    def workers(self, offset: int, limit: int) -> list[Worker]:
        """List workers, the newest first."""
        ...

    def worker_count(self) -> int:
        """Count all workers."""
        ...

    def worker(self, worker: int) -> Worker | None:
        """Find one by id."""
        ...

    def worker_named(self, name: str) -> Worker | None:
        """Find one by name."""
        ...

    def add_worker(self, values: Mapping[str, Any]) -> Worker:
        """Create one and return it with its id."""
        ...

    def change_worker(self, worker: int, values: Mapping[str, Any]) -> None:
        """Set columns of one; nothing happens when it is gone."""
        ...

    def remove_worker(self, worker: int) -> None:
        """Delete one."""
        ...

    def rows(self, table: str, columns: list[str], offset: int, limit: int) -> list[dict[str, Any]]:
        """List rows of any table, the newest first."""
        ...

    def count(self, table: str) -> int:
        """Count the rows of any table."""
        ...

    def add(self, table: str, values: Mapping[str, Any]) -> int:
        """Insert a row into any table and return its id."""
        ...

    def password_of(self, username: str) -> str | None:
        """Return a user's stored password, or None."""
        ...


class SqlStore:
    """The real one. Table and column names come from our own models, never from a request."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def workers(self, offset: int, limit: int) -> list[Worker]:
        """See `Store`."""
        sql = f"SELECT {SELECTED} FROM worker_node ORDER BY id DESC OFFSET %s LIMIT %s"  # noqa: S608
        return [_worker(row) for row in self._database.query(sql, offset, limit)]

    def worker_count(self) -> int:
        """See `Store`."""
        return self.count("worker_node")

    def worker(self, worker: int) -> Worker | None:
        """See `Store`."""
        return self._one("id = %s", worker)

    def worker_named(self, name: str) -> Worker | None:
        """See `Store`."""
        return self._one("name = %s", name)

    def add_worker(self, values: Mapping[str, Any]) -> Worker:
        """See `Store`."""
        added = self.worker(self.add("worker_node", values))
        if added is None:
            raise LookupError("the new worker is gone already")
        return added

    def change_worker(self, worker: int, values: Mapping[str, Any]) -> None:
        """See `Store`."""
        columns = ", ".join(f"{name} = %s" for name in values)
        sql = f"UPDATE worker_node SET {columns}, updated_at = now() WHERE id = %s"  # noqa: S608
        self._database.query(sql, *values.values(), worker)

    def remove_worker(self, worker: int) -> None:
        """See `Store`."""
        self._database.query("DELETE FROM worker_node WHERE id = %s", worker)

    def rows(self, table: str, columns: list[str], offset: int, limit: int) -> list[dict[str, Any]]:
        """See `Store`."""
        names = ", ".join(columns)
        sql = f"SELECT {names} FROM {table} ORDER BY id DESC OFFSET %s LIMIT %s"  # noqa: S608
        found = self._database.query(sql, offset, limit)
        return [dict(zip(columns, row, strict=True)) for row in found]

    def count(self, table: str) -> int:
        """See `Store`."""
        return int(self._database.query(f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608

    def add(self, table: str, values: Mapping[str, Any]) -> int:
        """See `Store`."""
        names, places = ", ".join(values), ", ".join("%s" for _ in values)
        sql = f"INSERT INTO {table} ({names}) VALUES ({places}) RETURNING id"  # noqa: S608
        return int(self._database.query(sql, *values.values())[0][0])

    def password_of(self, username: str) -> str | None:
        """See `Store`."""
        found = self._database.query("SELECT password FROM auth_user WHERE username = %s", username)
        return str(found[0][0]) if found else None

    def _one(self, where: str, value: object) -> Worker | None:
        sql = f"SELECT {SELECTED} FROM worker_node WHERE {where}"  # noqa: S608
        found = self._database.query(sql, value)
        return _worker(found[0]) if found else None


def _worker(row: tuple[Any, ...]) -> Worker:
    return dict(zip(WORKER, row, strict=True))
