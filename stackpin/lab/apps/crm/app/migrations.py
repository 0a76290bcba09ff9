"""The database schema as numbered steps. Steps only add, so an older release can still run."""

import sqlite3
from dataclasses import dataclass

from .releases import Release


@dataclass(frozen=True)
class Migration:
    """One numbered step, applied in one transaction."""

    number: int
    name: str
    statements: tuple[str, ...]


class MigrationError(Exception):
    """A step failed and was taken back; the database is as the step before left it."""


MIGRATIONS = (
    Migration(
        1,
        "hosts and packs",
        (
            """CREATE TABLE hosts (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
               base_url TEXT NOT NULL, status TEXT NOT NULL DEFAULT 'registered',
               created_at TEXT NOT NULL)""",
            """CREATE TABLE host_credentials (host_id INTEGER PRIMARY KEY REFERENCES hosts(id),
               kind TEXT NOT NULL, secret TEXT NOT NULL, updated_at TEXT NOT NULL)""",
            """CREATE TABLE host_probes (id INTEGER PRIMARY KEY,
               host_id INTEGER NOT NULL REFERENCES hosts(id), status INTEGER,
               detail TEXT NOT NULL, probed_at TEXT NOT NULL)""",
            """CREATE TABLE host_capabilities (host_id INTEGER NOT NULL REFERENCES hosts(id),
               name TEXT NOT NULL, supported INTEGER NOT NULL, PRIMARY KEY (host_id, name))""",
            """CREATE TABLE packs (id TEXT PRIMARY KEY, version TEXT NOT NULL,
               seen_at TEXT NOT NULL)""",
            """CREATE TABLE pack_installs (id INTEGER PRIMARY KEY, pack_id TEXT NOT NULL,
               version TEXT NOT NULL, commit_id TEXT NOT NULL, installed_at TEXT NOT NULL)""",
            """CREATE TABLE admin_sessions (id TEXT PRIMARY KEY, username TEXT NOT NULL,
               created_at TEXT NOT NULL, expires_at REAL NOT NULL, revoked_at TEXT)""",
        ),
    ),
    Migration(
        2,
        "providers and drafts",
        (
            """CREATE TABLE providers (id TEXT PRIMARY KEY, pack_id TEXT NOT NULL,
               display_name TEXT NOT NULL, status TEXT NOT NULL, updated_at TEXT NOT NULL)""",
            """CREATE TABLE provider_accounts (id INTEGER PRIMARY KEY,
               provider_id TEXT NOT NULL REFERENCES providers(id),
               host_id INTEGER NOT NULL REFERENCES hosts(id), name TEXT NOT NULL,
               fingerprint TEXT NOT NULL, created_at TEXT NOT NULL,
               UNIQUE (provider_id, host_id, name))""",
            """CREATE TABLE provider_models (provider_id TEXT NOT NULL REFERENCES providers(id),
               model TEXT NOT NULL, PRIMARY KEY (provider_id, model))""",
            """CREATE TABLE provider_drafts (id INTEGER PRIMARY KEY, pack_id TEXT NOT NULL,
               provider_id TEXT NOT NULL, manifest TEXT NOT NULL,
               status TEXT NOT NULL DEFAULT 'draft', created_at TEXT NOT NULL,
               updated_at TEXT NOT NULL, UNIQUE (pack_id, provider_id))""",
            """CREATE TABLE draft_publications (id INTEGER PRIMARY KEY, draft_id INTEGER NOT NULL,
               pack_id TEXT NOT NULL, provider_id TEXT NOT NULL, version TEXT NOT NULL,
               commit_id TEXT NOT NULL, published_at TEXT NOT NULL)""",
        ),
    ),
    Migration(
        3,
        "imports",
        (
            """CREATE TABLE import_previews (id INTEGER PRIMARY KEY, provider_id TEXT NOT NULL,
               host_id INTEGER NOT NULL REFERENCES hosts(id), plan TEXT NOT NULL,
               created_at TEXT NOT NULL)""",
            """CREATE TABLE import_batches (id INTEGER PRIMARY KEY, provider_id TEXT NOT NULL,
               host_id INTEGER NOT NULL REFERENCES hosts(id), created INTEGER NOT NULL,
               skipped INTEGER NOT NULL, created_at TEXT NOT NULL)""",
            """CREATE TABLE batch_import_runs (id INTEGER PRIMARY KEY,
               host_id INTEGER NOT NULL REFERENCES hosts(id), status TEXT NOT NULL,
               total INTEGER NOT NULL, failed INTEGER NOT NULL, created_at TEXT NOT NULL)""",
            """CREATE TABLE batch_import_items (id INTEGER PRIMARY KEY,
               run_id INTEGER NOT NULL REFERENCES batch_import_runs(id),
               provider_id TEXT NOT NULL, account TEXT NOT NULL, status TEXT NOT NULL,
               detail TEXT NOT NULL)""",
            "CREATE INDEX batch_import_items_by_run ON batch_import_items(run_id)",
        ),
    ),
    Migration(
        4,
        "resources, reconcile and rollback",
        (
            """CREATE TABLE managed_resources (id INTEGER PRIMARY KEY,
               batch_id INTEGER NOT NULL REFERENCES import_batches(id), kind TEXT NOT NULL,
               reference TEXT NOT NULL, created_at TEXT NOT NULL)""",
            """CREATE TABLE access_closures (id INTEGER PRIMARY KEY,
               batch_id INTEGER NOT NULL REFERENCES import_batches(id), status TEXT NOT NULL,
               closed_at TEXT NOT NULL)""",
            """CREATE TABLE reconcile_runs (id INTEGER PRIMARY KEY,
               host_id INTEGER NOT NULL REFERENCES hosts(id), status TEXT NOT NULL,
               created_at TEXT NOT NULL)""",
            """CREATE TABLE reconcile_findings (id INTEGER PRIMARY KEY,
               run_id INTEGER NOT NULL REFERENCES reconcile_runs(id), kind TEXT NOT NULL,
               detail TEXT NOT NULL)""",
            """CREATE TABLE rollback_runs (id INTEGER PRIMARY KEY,
               batch_id INTEGER NOT NULL REFERENCES import_batches(id), status TEXT NOT NULL,
               created_at TEXT NOT NULL)""",
        ),
    ),
    Migration(
        5,
        "host labels",
        (
            """CREATE TABLE host_labels (host_id INTEGER NOT NULL REFERENCES hosts(id),
               name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (host_id, name))""",
            "ALTER TABLE hosts ADD COLUMN region TEXT",
        ),
    ),
)


def steps_of(release: Release) -> tuple[Migration, ...]:
    """Return the steps a release brings, its broken one included."""
    steps = MIGRATIONS[: release.schema]
    if release.broken_migration:
        steps += (Migration(release.schema + 1, "host groups", release.broken_migration),)
    return steps


def migrate(connection: sqlite3.Connection, steps: tuple[Migration, ...]) -> list[int]:
    """Apply the steps that are missing and return their numbers.

    Each step takes the write lock first and only then looks whether it is still needed: two
    processes that start together queue up, and the second finds the work done.
    """
    applied = []
    for step in steps:
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS schema_migrations (version INTEGER PRIMARY KEY, "
                "name TEXT NOT NULL, applied_at TEXT NOT NULL)"
            )
            known = connection.execute(
                "SELECT 1 FROM schema_migrations WHERE version = ?", (step.number,)
            ).fetchone()
            if not known:
                for statement in step.statements:
                    connection.execute(statement)
                connection.execute(
                    "INSERT INTO schema_migrations VALUES (?, ?, datetime('now'))",
                    (step.number, step.name),
                )
                applied.append(step.number)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            connection.execute("ROLLBACK")
            raise MigrationError(
                f"migration {step.number} ({step.name}) failed: {error}"
            ) from error
    return applied
