"""What each release is, including the faults some of them have on purpose.

Every difference between two releases is declared here and applied in exactly one place elsewhere,
so that a lab run with a bad release exercises the same program as one with a good release.
"""

from dataclasses import dataclass

HOST_LABELS = "host-labels"


@dataclass(frozen=True)
class Release:
    """One release: how far its schema goes, what it can do, how it misbehaves."""

    version: str
    schema: int = 5
    features: tuple[str, ...] = (HOST_LABELS,)
    api_fails: bool = False
    """Every `/api/` request is answered with 500 while `/healthz` stays fine."""
    broken_migration: tuple[str, ...] = ()
    """Statements of one more migration; the last of them cannot succeed."""
    dies_after: float | None = None
    """Seconds after it began to listen at which the process ends by itself, as a crash would."""
    listens_after: float = 0.0
    """Seconds between the migrations and the moment the port is open."""


RELEASES = {
    release.version: release
    for release in (
        Release("v1.0.0", schema=4, features=()),
        Release("v1.1.0"),
        Release("v1.2.0", api_fails=True),
        Release(
            "v1.3.0",
            broken_migration=(
                "CREATE TABLE host_groups (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
                "ALTER TABLE hosts ADD COLUMN group_id INTEGER REFERENCES host_groups(id)",
                "INSERT INTO host_groups (name) SELECT DISTINCT team FROM hosts_before_v1_3_0",
            ),
        ),
        Release("v1.4.0", dies_after=10.0),
        Release("v1.5.0", listens_after=6.0),
    )
}
