"""All routes of the server: one request in, one answer out, no sockets."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from .answers import Answer, Problem, Request, page_of
from .auth import COOKIE, SESSION_SECONDS, check_password, open_session, user_of
from .loads import Loads
from .models import tables
from .settings import Settings
from .store import Store
from .workers import Workers

__all__ = ["Api"]

NEVER_HEALTHY = "v1.3.0"
SIGNED_OUT = {"detail": "Authentication credentials were not provided."}

LISTS = {
    "/api/organizations/": "organization",
    "/api/targets/": "target",
    "/api/engines/": "scan_engine",
    "/api/wordlists/": "wordlist",
    "/api/subdomains/": "subdomain",
    "/api/websites/": "website",
    "/api/endpoints/": "endpoint",
    "/api/directories/": "directory",
    "/api/vulnerabilities/": "vulnerability",
    "/api/fingerprints/ehole/": "ehole_fingerprint",
}
"""Path -> table. Each selects every column of its model, so a missing one is a 500."""

WRITABLE = {"/api/organizations/", "/api/targets/"}


@dataclass(frozen=True)
class Api:
    """The server without its sockets."""

    store: Store
    loads: Loads
    settings: Settings
    say: Callable[[str], None]

    def answer(self, request: Request) -> Answer:
        """Answer one request; never raises."""
        try:
            return self._route(request)
        except Problem as problem:
            return problem.answer
        except Exception as error:
            reason = (str(error).strip() or repr(error)).splitlines()[0]
            self.say(f"500 {request.method} {request.path}: {reason}")
            return Answer(500, {"detail": "Internal server error"})

    def _route(self, request: Request) -> Answer:
        path = request.path
        if path.startswith("/api/workers/"):
            return self._workers(request, Workers(self.store, self.loads, self.settings, self.say))
        if path == "/api/":
            return self._root(request)
        if path in LISTS:
            return self._list(request)
        if path == "/api/auth/login/":
            return self._login(request)
        if path == "/api/auth/me/":
            return self._me(request)
        raise Problem(404, {"detail": "Not found."})

    def _workers(self, request: Request, workers: Workers) -> Answer:
        path, method = request.path, request.method
        if path == "/api/workers/":
            return _choose(
                method, GET=lambda: workers.list(request), POST=lambda: workers.create(request)
            )
        if path == "/api/workers/register/":
            return _choose(method, POST=lambda: workers.register(request))
        if path == "/api/workers/config/":
            return _choose(method, GET=lambda: self._config(request))
        found = re.fullmatch(r"/api/workers/(\d{1,9})/(heartbeat/)?", path)
        if not found:
            raise Problem(404, {"detail": "Not found."})
        worker = int(found[1])
        if found[2]:
            return _choose(method, POST=lambda: workers.heartbeat(worker, request))
        return _choose(
            method,
            GET=lambda: workers.get(worker),
            PATCH=lambda: workers.change(worker, request),
            DELETE=lambda: workers.delete(worker),
        )

    def _root(self, request: Request) -> Answer:
        """List the first two collections; it asks no database, so it says little about health."""
        if self.settings.release == NEVER_HEALTHY:
            return Answer(500, {"detail": "Internal server error"})
        base = f"http://{request.headers.get('host', 'localhost')}/api"
        links = {name: f"{base}/{name}/" for name in ("organizations", "targets")}
        return _choose(request.method, GET=lambda: Answer(200, links))

    def _list(self, request: Request) -> Answer:
        table = next(
            (one for one in tables(self.settings.release) if one.name == LISTS[request.path]), None
        )
        if table is None:
            raise Problem(404, {"detail": "Not found."})
        columns = list(table.columns)

        def listed() -> Answer:
            offset, limit, about = page_of(request, self.store.count(table.name))
            rows = self.store.rows(table.name, columns, offset, limit)
            return Answer(200, {"results": rows, **about})

        def added() -> Answer:
            name = request.data().get("name")
            if not name:
                raise Problem(400, {"name": ["This field is required."]})
            number = self.store.add(table.name, {"name": str(name)})
            return Answer(201, {"id": number, "name": str(name)})

        if request.path in WRITABLE:
            return _choose(request.method, GET=listed, POST=added)
        return _choose(request.method, GET=listed)

    def _config(self, request: Request) -> Answer:
        """Tell a task container everything, password included, without asking who it is."""
        local = request.parameter("is_local").lower() != "false"
        chosen = self.settings
        return Answer(
            200,
            {
                "db": {
                    "host": chosen.worker_database(local),
                    "port": str(chosen.db_port),
                    "name": chosen.db_name,
                    "user": chosen.db_user,
                    "password": chosen.db_password,
                },
                "redis_url": chosen.worker_redis(local),
                "paths": {"results": "/app/backend/results", "logs": "/app/backend/logs"},
                "logging": {
                    "level": chosen.log_level,
                    "enable_command_logging": chosen.command_logging,
                },
                "debug": chosen.debug,
            },
        )

    def _login(self, request: Request) -> Answer:
        given = request.data()
        user = str(given.get("username", ""))
        stored = self.store.password_of(user)
        if not stored or not check_password(str(given.get("password", "")), stored):
            raise Problem(401, {"detail": "wrong user or password"})
        session = open_session(user, self.settings.secret_key)
        cookie = f"{COOKIE}={session}; HttpOnly; Path=/; SameSite=Lax; Max-Age={SESSION_SECONDS}"
        return Answer(200, {"authenticated": True, "user": user}, (("Set-Cookie", cookie),))

    def _me(self, request: Request) -> Answer:
        user = user_of(request.headers.get("cookie", ""), self.settings.secret_key)
        if user is None:
            raise Problem(401, SIGNED_OUT)
        return Answer(200, {"authenticated": True, "user": user})


def _choose(method: str, **ways: Callable[[], Answer]) -> Answer:
    way = ways.get("GET" if method == "HEAD" else method)
    if way is None:
        raise Problem(405, {"detail": f'Method "{method}" not allowed.'})
    return way()
