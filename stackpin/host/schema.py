"""The schema trap: a version whose migrations cannot see that the database lacks something.

The target version builds its own schema in an empty scratch database; what that has and the live
database has not is drift. A declared step is tried on a restored copy before it touches the live
database.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from stackpin.host import mutex, releases
from stackpin.host.drivers import compose_services as services
from stackpin.host.drivers import docker
from stackpin.host.errors import HostError, failed, refused
from stackpin.host.masking import Masker
from stackpin.host.postgres import Postgres, database_of
from stackpin.host.progress import say
from stackpin.host.scratch import SCRATCH, scratch
from stackpin.host.stack import Stack

__all__ = ["COMMANDS", "apply", "clean", "missing", "rehearse", "schema"]

Payload = dict[str, Any]
Columns = dict[str, dict[str, str]]
RUN = 600.0  # seconds a schema command may take
SHOWN = 12  # pieces of drift named in a message
ONE_OFF = "stackpin.one-off"


def schema(stack: Stack, payload: Payload) -> Payload:
    """Compare what a release needs with the live database: schema {release} -> as `rehearse`.

    Drift is an answer here, not an error, and the declared step is not run.
    """
    release = str(payload.get("release") or "")
    if not releases.exists(stack, release):
        raise refused(f"release {release!r}: not on this host; send it with `receive`")
    database = _live(stack, release)
    if database is None:
        return {"drift": [], "checked": False, "step": None}
    _, drift = _drift(stack, release, database)
    return {"drift": drift, "checked": True, "step": None}


def rehearse(stack: Stack, release: str) -> Payload:
    """Refuse a release whose schema the live database lacks, unless its step provides it.

    Returns {drift: [{table, column or null, what}], checked, step: null or "rehearsed"}. checked is
    False where no command is declared or no database is there yet. Raises HostError(refused).
    """
    database = _live(stack, release)
    if database is None:
        return {"drift": [], "checked": False, "step": None}
    say(f"comparing the schema of {release} with the database")
    wanted, drift = _drift(stack, release, database)
    if not drift:
        return {"drift": [], "checked": True, "step": None}
    step = _argv(stack, "step")
    if step is None:
        raise refused(
            f"{database.place}: {release} needs {told(drift)}; its migrations would say there is "
            "nothing to do and the server would fail. Nothing was switched: declare the step of "
            "this version (xingrin_schema_step), or stay on the version that runs",
            drift=drift,
        )
    left = _try(stack, release, database, step, wanted)
    if left:
        raise refused(
            f"{database.place}: after the declared step of {release} a copy of the database still "
            f"lacks {told(left)}; nothing was switched, correct the step",
            drift=left,
        )
    return {"drift": drift, "checked": True, "step": "rehearsed"}


def apply(stack: Stack, release: str) -> Payload:
    """Run the declared step on the live database when it is needed: -> {step: null or "run"}.

    Raises HostError(error) when drift stays.
    """
    database, step = _live(stack, release), _argv(stack, "step")
    if database is None or step is None:
        return {"step": None}
    wanted, drift = _drift(stack, release, database)
    if not drift:
        return {"step": None}
    say(f"running the declared schema step of {release}")
    _run(stack, release, database, step, database.name)
    left = missing(wanted, database.columns())
    if left:
        raise failed(f"{database.place}: after the schema step {told(left)} is still missing")
    return {"step": "run"}


def clean(stack: Stack) -> None:
    """Remove one-off containers and scratch databases of killed calls; none at work are touched."""
    words = ("ps", "--all", "--quiet", "--filter", f"label=stackpin.stack={stack.name}")
    ids = docker.docker(*words, "--filter", f"label={ONE_OFF}").out.split()
    database = database_of(stack)
    lock = mutex.state_dir(stack) / "scratch.lock"
    with contextlib.suppress(HostError), mutex.flock(lock, timeout=0.0):
        if ids:
            docker.docker("rm", "--force", *ids, check=False, timeout=60)
        if database is not None and database.present():
            for name in database.databases(SCRATCH):
                database.drop(name)


def missing(wanted: Columns, live: Columns) -> list[dict[str, Any]]:
    """List the tables and columns that `wanted` has and `live` has not, in order."""
    found: list[dict[str, Any]] = []
    for table, columns in sorted(wanted.items()):
        if table not in live:
            found.append({"table": table, "column": None, "what": "table missing"})
            continue
        found += [
            {"table": table, "column": column, "what": f"column missing ({columns[column]})"}
            for column in sorted(columns)
            if column not in live[table]
        ]
    return found


def told(drift: list[dict[str, Any]]) -> str:
    """Say drift in one line: table a, column b.c, ..."""
    names = [
        f"table {item['table']}"
        if item["column"] is None
        else f"column {item['table']}.{item['column']}"
        for item in drift
    ]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _live(stack: Stack, release: str) -> Postgres | None:
    """Return the database when there is a command to compare it by and something in it."""
    if _argv(stack, "command") is None:
        return None
    database = database_of(stack, release)
    if database is None or not database.present() or not database.columns():
        return None
    return database


def _argv(stack: Stack, name: str) -> list[str] | None:
    words = (stack.schema or {}).get(name)
    return [str(word) for word in words] if words else None


def _drift(stack: Stack, release: str, database: Postgres) -> tuple[Columns, list[dict[str, Any]]]:
    """Return the columns the release makes by itself, and what the live database lacks of them."""
    command = _argv(stack, "command") or []
    with scratch(database) as name:
        _run(stack, release, database, command, name)
        wanted = database.columns(name)
    if not wanted:
        raise failed(
            f"{release}: its schema command {' '.join(command)} made no table in an empty "
            "database; correct xingrin_schema_command"
        )
    return wanted, missing(wanted, database.columns())


def _try(
    stack: Stack, release: str, database: Postgres, step: list[str], wanted: Columns
) -> list[dict[str, Any]]:
    """Run the step on a restored copy; return what that still lacks."""
    say(f"trying the declared schema step of {release} on a copy of the database")
    dump = Path(mutex.state_dir(stack) / "schema.dump")
    try:
        database.dump(dump)
        with scratch(database, dump) as name:
            _run(stack, release, database, step, name)
            return missing(wanted, database.columns(name))
    finally:
        dump.unlink(missing_ok=True)


def _run(stack: Stack, release: str, database: Postgres, argv: list[str], name: str) -> None:
    """Run a command of the release's server image against a database of that name."""
    images = releases.about(stack, release).get("images") or {}
    image = images.get("server")
    if not image:
        raise failed(f"release {release}: release.json names no image of role server; deploy again")
    values = {**releases.environment(stack, release, None), "DB_NAME": name}
    passed = [word for key in sorted(values) for word in ("--env", key)]
    network = str((stack.postgres or {}).get("network") or "xingrin_network")
    mark = f"stackpin-schema-{os.urandom(4).hex()}"
    words = ["run", "--rm", "--pull=never", f"--name={mark}", f"--entrypoint={argv[0]}"]
    words += ["--label", f"stackpin.stack={stack.name}", "--label", f"{ONE_OFF}=1"]
    if database.service is not None:
        found = services.running(stack).get(database.service)
        networks = found.networks if found is not None else {}
        network = network if network in networks else next(iter(networks), network)
        words.append(f"--network={network}")
    try:
        done = docker.docker(
            *words, *passed, image, *argv[1:], env=services.client(values), timeout=RUN, check=False
        )
    except HostError:
        docker.docker("rm", "--force", mark, check=False)
        raise
    if not done.ok:
        mask = Masker.of(values)
        lines = [line for line in (done.err + done.out).splitlines() if line.strip()][-5:]
        raise failed(
            f"{release}: {' '.join(argv)[:80]} on database {name}: exit status {done.code}: "
            f"{mask(lines[-1]) if lines else 'no output'}",
            log=[mask(line)[:500] for line in lines],
        )


COMMANDS = {"schema": schema}
