"""The PostgreSQL database of a stack, through its container or a one-off one for a remote host.

Passwords go by environment only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stackpin.host import pointer, releases
from stackpin.host.drivers import compose_services as services
from stackpin.host.drivers import docker
from stackpin.host.errors import HostError, failed, refused
from stackpin.host.piping import Talk, stream, talk
from stackpin.host.stack import Stack
from stackpin.host.system import Result

__all__ = ["MAINTENANCE", "MOVE", "Postgres", "database_of", "fingerprint", "quoted", "text"]

ASK = 60.0  # seconds for one statement
MOVE = 3600.0  # seconds a dump or a restore may take
LOCK = 60  # seconds a dump waits for a table
CONNECT = "10"  # seconds, for libpq
MAINTENANCE = "postgres"  # the database to be in while another one is made or dropped

_BEGIN = f"begin isolation level repeatable read read only;\nset local lock_timeout = '{LOCK}s';"
# Generated statements, one count per table: exact, and without the XML functions a server may lack.
_COUNTS = r"""
select format('select %L, count(*) from %I.%I',
  case table_schema when 'public' then '' else table_schema || '.' end || table_name,
  table_schema, table_name)
from information_schema.tables
where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')
order by table_schema, table_name
\gexec
"""
_COLUMNS = """
select c.table_name, c.column_name, c.data_type from information_schema.columns c
join information_schema.tables t using (table_schema, table_name)
where c.table_schema = 'public' and t.table_type = 'BASE TABLE'
order by c.table_name, c.ordinal_position;
"""


@dataclass(frozen=True)
class Postgres:
    """One database. service: compose service of a local one; None: remote, through `image`."""

    stack: Stack
    service: str | None
    host: str
    port: int
    name: str
    user: str
    password: str
    image: str | None = None
    may_create: bool = True

    @property
    def place(self) -> str:
        """Name it for people: postgres:xingrin@10.0.0.9:5432."""
        return f"postgres:{self.name}@{self.host}:{self.port}"

    def container(self) -> str | None:
        """Return the id of the local container when it runs."""
        if self.service is None:
            return None
        found = services.running(self.stack).get(self.service)
        return None if found is None or found.state != "running" else found.id

    def present(self) -> bool:
        """Tell whether there is something to ask: a running container, or a remote server."""
        return self.service is None or self.container() is not None

    def psql(self, text: str, database: str | None = None, timeout: float = ASK) -> list[list[str]]:
        """Run statements; return the rows, split at tabs. Raises HostError(error)."""
        done = self._psql(text, database, timeout)
        if not done.ok:
            raise failed(f"{self.place}: {_reason(done)}", code=done.code)
        return [line.split("\t") for line in done.out.splitlines() if line]

    def login(self) -> str | None:
        """Log in as the application does, over the network; return what is wrong, None if nothing.

        A local container trusts its own socket, so its network address is asked.
        """
        try:
            address = None
            if self.service is not None:
                found = services.running(self.stack).get(self.service)
                address = services.address(found)
                if address is None:
                    return f"service {self.service} does not run"
            done = self._psql("select 1;", None, 30.0, address=address)
        except HostError as problem:
            return problem.message
        return None if done.ok else _reason(done)

    def counts(self, database: str | None = None) -> dict[str, int]:
        """Count the rows of every table, exactly: {table: rows}; other schemas as schema.table."""
        return {name: int(rows) for name, rows in self.psql(_COUNTS, database, MOVE)}

    def columns(self, database: str | None = None) -> dict[str, dict[str, str]]:
        """Return {table: {column: type}} of schema public."""
        found: dict[str, dict[str, str]] = {}
        for table, column, kind in self.psql(_COLUMNS, database):
            found.setdefault(table, {})[column] = kind
        return found

    def databases(self, beginning: str) -> list[str]:
        """List the databases whose name begins so."""
        rows = self.psql("select datname from pg_database order by 1;", self._elsewhere())
        return [row[0] for row in rows if row[0].startswith(beginning)]

    def create(self, database: str) -> None:
        """Make an empty database; from template0, which has nothing a site added."""
        self.psql(
            f"create database {quoted(database)} template template0;", self._elsewhere(), 300.0
        )

    def drop(self, database: str) -> None:
        """Drop a database, whoever is connected to it."""
        self.psql(
            f"drop database if exists {quoted(database)} with (force);", self._elsewhere(), 300.0
        )

    def dump(self, target: Path) -> dict[str, int]:
        """Write a dump in pg_dump's own format; return the row counts of the same instant."""
        with self.talk() as session:
            # One snapshot for both: under write load counts taken beside a dump never match it.
            session.say(f"{_BEGIN}\nselect pg_export_snapshot();\n")
            snapshot = session.line()
            if not re.fullmatch(r"[0-9A-Fa-f-]{1,64}", snapshot):
                raise failed(f"{self.place}: no snapshot for a dump: {snapshot[:80]!r}")
            session.say(f"{_COUNTS}\\echo .\n")
            counts = dict(line.split("\t") for line in session.until("."))
            words = ["--format=custom", "--no-password", f"--snapshot={snapshot}"]
            words.append(f"--lock-wait-timeout={LOCK}s")
            argv, env = self._argv("pg_dump", *words, f"--dbname={self.name}")
            done = stream(argv, target=target, timeout=MOVE, env=env)
        if not done.ok:
            raise failed(f"{self.place}: pg_dump: {_reason(done)}", code=done.code)
        return {name: int(rows) for name, rows in counts.items()}

    def load(self, source: Path, database: str) -> None:
        """Restore a dump into an empty database. Raises HostError(error) at the first problem."""
        words = ["--no-owner", "--no-privileges", "--exit-on-error", "--no-password"]
        argv, env = self._argv("pg_restore", *words, f"--dbname={database}")
        done = stream(argv, source=source, timeout=MOVE, env=env)
        if not done.ok:
            raise failed(f"{self.place}: pg_restore: {_reason(done)}", code=done.code)

    def readable(self, source: Path) -> str | None:
        """Decode a whole dump without a database; return what is wrong, None if nothing."""
        argv, env = self._argv("pg_restore", "--file=/dev/null", remote=False)
        done = stream(argv, source=source, timeout=MOVE, env=env)
        return None if done.ok else _reason(done)

    @contextlib.contextmanager
    def talk(self) -> Iterator[Talk]:
        """Hold a session of psql open."""
        argv, env = self._argv("psql", *_PSQL, f"--dbname={self.name}")
        with talk(argv, env) as session:
            yield session

    def _psql(
        self, text: str, database: str | None, timeout: float, address: str | None = None
    ) -> Result:
        words = [*_PSQL, f"--dbname={database or self.name}"]
        if address is not None:
            words.append(f"--host={address}")
        argv, env = self._argv("psql", *words)
        return docker.docker(*argv[1:], data=text, timeout=timeout, env=env, check=False)

    def _elsewhere(self) -> str:
        """Name a database to be in while others are made: of a remote server only ours is known."""
        return MAINTENANCE if self.service is not None else self.name

    def _argv(
        self, program: str, *words: str, remote: bool = True
    ) -> tuple[list[str], dict[str, str]]:
        """Make the command line of a PostgreSQL program, and the environment it needs."""
        env = {"PGPASSWORD": self.password, "PGCONNECT_TIMEOUT": CONNECT, "PGUSER": self.user}
        passed = [word for name in env for word in ("--env", name)]
        env["DOCKER_CONFIG"] = docker.CONFIG
        if self.service is not None:
            identity = self.container()
            if identity is None:
                raise failed(
                    f"{self.place}: the container of service {self.service} does not run; "
                    "see `stackpin status`, then deploy again"
                )
            return ["docker", "exec", "-i", *passed, identity, program, *words], env
        if self.image is None:
            raise refused(
                f"{self.place}: a remote database needs an image with PostgreSQL's programs; "
                "stack.json or the release must name it (postgres)"
            )
        if remote:
            words = (*words, f"--host={self.host}", f"--port={self.port}")
        one_off = ["run", "--rm", "-i", "--pull=never", "--network=host", f"--entrypoint={program}"]
        labels = ["--label", f"stackpin.stack={self.stack.name}", "--label", "stackpin.one-off=1"]
        return ["docker", *one_off, *labels, *passed, self.image, *words], env


_PSQL = ("--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--field-separator=\t",
         "--set=ON_ERROR_STOP=1", "--no-password")  # fmt: skip


_VARIABLES = {"host": "DB_HOST", "port": "DB_PORT", "name": "DB_NAME", "user": "DB_USER"}


def database_of(
    stack: Stack, release: str | None = None, given: Mapping[str, Any] | None = None
) -> Postgres | None:
    """Return the database a release uses (the live one by default), None when it uses none.

    given: the same keys as stack.json's postgres, with `password`, for a host not deployed yet.
    """
    settings: Mapping[str, Any] = given or stack.postgres
    if not settings:
        return None
    release = release or (pointer.live_release(stack) if stack.installed else None)
    env = releases.environment(stack, release, None) if release else {}
    images = releases.about(stack, release).get("images") or {} if release else {}
    image = settings.get("image") or images.get("postgres")
    if release and not given and env.get("DB_HOST"):
        # A release says which database is its own; stack.json, which one the next will have.
        host = env["DB_HOST"]
        settings = {
            **settings,
            "service": host if host in services.depend(stack, release) else None,
            **{key: env[name] for key, name in _VARIABLES.items() if env.get(name)},
        }
    return Postgres(
        stack=stack,
        service=settings.get("service") or None,
        host=str(settings.get("host") or "postgres"),
        port=int(settings.get("port") or 5432),
        name=str(settings.get("name") or "postgres"),
        user=str(settings.get("user") or "postgres"),
        password=str(settings.get("password") or env.get("DB_PASSWORD") or ""),
        image=str(image) if image else None,
        may_create=bool(settings.get("scratch", True)),
    )


def text(value: str) -> str:
    """Quote a text of SQL."""
    return "'" + value.replace("'", "''") + "'"


def fingerprint(columns: Mapping[str, Mapping[str, str]]) -> str:
    """Return twelve digits that tell one set of tables and columns from another."""
    text = json.dumps({table: sorted(names) for table, names in columns.items()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def quoted(name: str) -> str:
    """Quote an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def _reason(done: Result) -> str:
    lines = [line.strip() for line in done.err.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"(?i)error|fatal|failed|no such", line)]
    return (telling or lines or [f"exit status {done.code}"])[0][:400]
