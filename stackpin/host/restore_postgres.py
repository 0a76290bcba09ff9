"""Put a dump back into PostgreSQL: into a new database, which then takes the old one's name."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

from stackpin.host import journal, pointer, room, snapshot
from stackpin.host.backup import backup
from stackpin.host.drivers import driver
from stackpin.host.errors import HostError, broken, failed, gate_failed, refused
from stackpin.host.postgres import (
    MAINTENANCE,
    Postgres,
    database_of,
    fingerprint,
    quoted,
    text,
)
from stackpin.host.progress import say
from stackpin.host.scratch import VOLUMES
from stackpin.host.stack import SLOTS, Stack
from stackpin.host.waiting import Target, wait_healthy, wait_ready

__all__ = ["now", "perform", "require_room"]

NEW, BEFORE = "stackpin_restoring_", "stackpin_before_"
_CLIENTS = "from pg_stat_activity where datname in"
ATTEMPTS = 10  # clients of the database that come back at once are ended again


def now(stack: Stack) -> tuple[dict[str, int] | None, str | None]:
    """Return row counts and schema of the present database; nulls when it cannot be read."""
    with contextlib.suppress(HostError):
        database = database_of(stack)
        if database is not None and database.present():
            return database.counts(), fingerprint(database.columns())
    return None, None


def require_room(stack: Stack) -> None:
    """Refuse when there is no room for the restored database and the safety backup's copy."""
    database = _database(stack)
    if database.service is None:
        return
    with contextlib.suppress(HostError):
        size = int(database.psql(f"select pg_database_size({text(database.name)});")[0][0])
        room.require(stack.at(VOLUMES), 2 * size, "the restored database and a copy to compare")


def perform(
    stack: Stack, directory: Path, view: dict[str, Any], payload: dict[str, Any]
) -> dict[str, Any]:
    """Stop the server, make a safety backup, restore, swap names, serve; call under the mutex.

    Returns {safety, kept, gate, seconds}. The previous database is dropped only when the restored
    one serves and the safety backup has it. Raises HostError(gate): the previous one serves again;
    (broken): nothing is known to serve.
    """
    started = time.monotonic()
    database = _database(stack)
    source, stamp = directory / snapshot.DUMP, time.strftime("%Y%m%d%H%M%S", time.gmtime())
    new, before = NEW + stamp, BEFORE + stamp
    say(f"stopping {stack.name}")
    driver(stack).stop(stack, *SLOTS)
    safety: dict[str, Any] | None = None
    try:
        if now(stack)[0] is not None:
            reason = f"before restore of {view['id']}"
            safety = backup(stack, {"reason": reason, "who": payload.get("who")})
        for left in database.databases(NEW):
            database.drop(left)
        say(f"restoring {view['id']} beside the present database")
        database.create(new)
        database.load(source, new)
        if database.counts(new) != view["rows"]:
            raise failed(f"{database.place}: other row counts than in backup {view['id']}")
        _swap(database, database.name, before, new)
        gate = _serve(stack)
    except (HostError, OSError) as problem:
        raise _put_back(stack, database, before, problem) from problem
    kept: str | None = f"database {before}"
    if safety is not None:
        try:
            database.drop(before)
            kept = None
        except HostError as problem:  # the restored one serves all the same
            say(f"{kept} could not be dropped, drop it by hand: {problem.message}")
    journal.append(
        stack,
        "restore",
        release=view["release_now"],
        who=payload.get("who"),
        command="restore",
        reason=f"backup {view['id']} of {view['time']}",
        safety=safety["id"] if safety else None,
    )
    return {
        "safety": safety["id"] if safety else None,
        "kept": kept,
        "gate": gate,
        "seconds": round(time.monotonic() - started, 3),
    }


def _database(stack: Stack) -> Postgres:
    database = database_of(stack)
    if database is None or not database.present():
        raise refused(
            f"stack {stack.name}: its PostgreSQL does not run on this host, so nothing can be "
            "restored into it; start it, see `stackpin status`"
        )
    return database


def _swap(database: Postgres, name: str, aside: str, new: str) -> None:
    """Give `name` to the database `new` in one transaction; the one that had it becomes `aside`."""
    both = f"({text(name)}, {text(new)})"
    end = f"select count(pg_terminate_backend(pid, 2000)) {_CLIENTS} {both};"
    rename = (
        f"begin; alter database {quoted(name)} rename to {quoted(aside)}; "
        f"alter database {quoted(new)} rename to {quoted(name)}; commit;"
    )
    for attempt in range(ATTEMPTS):
        try:
            database.psql(f"{end}\n{rename}", MAINTENANCE)
            return
        except HostError as problem:
            if "being accessed" not in problem.message or attempt == ATTEMPTS - 1:
                raise


def _serve(stack: Stack) -> dict[str, Any] | None:
    """Start the live slot, wait until it is healthy and direct traffic to it."""
    release, slot = pointer.live_release(stack), pointer.live_slot(stack)
    if release is None or slot is None:
        return None
    began = time.time()
    driver(stack).start(stack, slot)
    target = Target(stack, slot, release, since=began)
    wait_ready(target, "restore", stack.start_timeout, lambda: None)
    healthy = wait_healthy(
        target,
        "restore",
        where={"slot"},
        min_healthy=0.0,
        timeout=stack.gate.timeout,
        still=lambda: None,
    )
    driver(stack).front(stack, slot)
    found: dict[str, Any] = healthy["gate"]
    return found


def _put_back(
    stack: Stack, database: Postgres, before: str, problem: HostError | OSError
) -> HostError:
    detail = problem.detail if isinstance(problem, HostError) else {}
    say(f"restore failed, putting the previous database back: {problem}")
    try:
        driver(stack).stop(stack, *SLOTS)
        if before in database.databases(BEFORE):
            _swap(database, database.name, NEW + "failed", before)
        for left in database.databases(NEW):
            database.drop(left)
        _serve(stack)
    except (HostError, OSError) as worse:
        return broken(
            f"restore of {stack.name} failed ({problem}) and the previous database does not serve: "
            f"{worse}; it is {database.name} or {before}: look at the server's log now",
            **detail,
        )
    told = f"restore of {stack.name} failed, the previous database serves: {problem}"
    return gate_failed(told, **detail)
