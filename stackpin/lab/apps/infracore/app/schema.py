"""The tables of the shared file. Steps only add, so an older release can still run."""

import sqlite3

__all__ = ["STEPS", "create"]

STEPS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE users (id INTEGER PRIMARY KEY, username TEXT NOT NULL UNIQUE,
           email TEXT NOT NULL UNIQUE, password_hash TEXT NOT NULL,
           role TEXT NOT NULL DEFAULT 'user', created_at TEXT NOT NULL)""",
        """CREATE TABLE sessions (id INTEGER PRIMARY KEY,
           user_id INTEGER NOT NULL REFERENCES users(id), token_hash TEXT NOT NULL,
           expires_at TEXT NOT NULL)""",
        """CREATE TABLE api_keys (id INTEGER PRIMARY KEY,
           user_id INTEGER NOT NULL REFERENCES users(id), key_hash TEXT NOT NULL UNIQUE)""",
        """CREATE TABLE audit_logs (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users(id),
           action TEXT NOT NULL, created_at TEXT NOT NULL)""",
        """CREATE TABLE nodes (name TEXT PRIMARY KEY, instance TEXT NOT NULL,
           last_heartbeat TEXT NOT NULL)""",
        """CREATE TABLE services (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
           image TEXT NOT NULL, replicas INTEGER NOT NULL DEFAULT 1)""",
        """CREATE TABLE deployments (id INTEGER PRIMARY KEY,
           service_id INTEGER NOT NULL REFERENCES services(id),
           node TEXT NOT NULL REFERENCES nodes(name), status TEXT NOT NULL)""",
        """CREATE TABLE service_events (id INTEGER PRIMARY KEY,
           service_id INTEGER NOT NULL REFERENCES services(id), kind TEXT NOT NULL,
           created_at TEXT NOT NULL)""",
        """CREATE TABLE probes (name TEXT PRIMARY KEY, url TEXT NOT NULL,
           enabled INTEGER NOT NULL DEFAULT 1)""",
        """CREATE TABLE probe_results (probe TEXT PRIMARY KEY REFERENCES probes(name),
           healthy INTEGER NOT NULL, detail TEXT NOT NULL, checked_at TEXT NOT NULL)""",
        """CREATE TABLE alerts (probe TEXT PRIMARY KEY REFERENCES probes(name),
           since TEXT NOT NULL)""",
        """CREATE TABLE snapshot_plans (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
           source TEXT NOT NULL)""",
        """CREATE TABLE snapshots (id INTEGER PRIMARY KEY,
           plan_id INTEGER NOT NULL REFERENCES snapshot_plans(id), created_at TEXT NOT NULL)""",
        """CREATE TABLE restore_jobs (id INTEGER PRIMARY KEY,
           snapshot_id INTEGER NOT NULL REFERENCES snapshots(id), status TEXT NOT NULL)""",
    ),
    (
        "ALTER TABLE users ADD COLUMN last_login_at TEXT",
        """CREATE TABLE login_history (id INTEGER PRIMARY KEY,
           user_id INTEGER NOT NULL REFERENCES users(id), logged_in_at TEXT NOT NULL)""",
    ),
)
"""Step n is applied when the file's `user_version` is below n. The first has the 14 tables."""


def create(connection: sqlite3.Connection, schema: int) -> None:
    """Apply the steps up to `schema` that are missing, in one transaction.

    The lock comes first and the look second: of services that start together one does the work.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        (there,) = connection.execute("PRAGMA user_version").fetchone()
        for number, statements in enumerate(STEPS[:schema], 1):
            if number > there:
                for statement in statements:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
