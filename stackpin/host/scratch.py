"""Scratch databases beside the live one: to try a dump, or to build a release's tables in.

They are named stackpin_scratch_* and never outlive the call that made them, or the next one when
that was killed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from stackpin.host import mutex, room
from stackpin.host.postgres import MOVE, Postgres, text

__all__ = ["SCRATCH", "VOLUMES", "scratch"]

SCRATCH = "stackpin_scratch_"
VOLUMES = Path("/var/lib/docker")


@contextlib.contextmanager
def scratch(database: Postgres, source: Path | None = None) -> Iterator[str]:
    """Give the name of a scratch database, empty or restored from `source`; always dropped.

    One at a time per stack, so every other one found is what a killed program left.
    """
    with mutex.flock(mutex.state_dir(database.stack) / "scratch.lock", timeout=MOVE):
        for left in database.databases(SCRATCH):
            database.drop(left)
        name = SCRATCH + os.urandom(6).hex()
        if source is not None:
            _require_room(database)
        try:
            database.create(name)
            if source is not None:
                database.load(source, name)
            yield name
        finally:
            database.drop(name)


def _require_room(database: Postgres) -> None:
    """Refuse a copy that the disk below the live database cannot take: that one would stop."""
    if database.service is None:
        return  # its disk is not ours to see
    size = int(database.psql(f"select pg_database_size({text(database.name)});")[0][0])
    volumes = database.stack.at(VOLUMES)
    room.require(volumes, size, f"a scratch copy of {database.place}")
