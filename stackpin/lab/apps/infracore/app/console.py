"""The console: the API, the accounts and the web UI."""

import sqlite3
import time
from collections.abc import Callable

from ...serving.http import HttpError, Request, Response
from .accounts import Accounts
from .overview import overview
from .pages import Pages
from .service import Context, Door, Handler, Service, health

__all__ = ["Console", "service"]

PROTECTED = ("profile", "users", "services", "deployments", "nodes", "snapshots", "sso")
"""First words below /api/v1/ of the routes that need a login; so does /api/v1/auth/me."""


def service(context: Context) -> Service:
    """Make the console; of the five it alone keeps to its host."""
    settings = context.settings
    return Service((Door(settings.console_port, Console(context), settings.console_host),))


class Console:
    """Answers requests."""

    def __init__(self, context: Context, pages: Pages | None = None) -> None:
        self._context = context
        self._pages = pages or Pages()
        self._started = time.monotonic()
        accounts = Accounts(context)
        self._routes: dict[tuple[str, str], Handler] = {
            ("GET", "/api/v1/health"): self._health,
            ("GET", "/api/v1/status"): self._status,
            ("POST", "/api/v1/auth/register"): accounts.register,
            ("POST", "/api/v1/auth/login"): accounts.login,
        }
        self._refuse: Callable[[Request], Response] = accounts.refuse

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        if self._context.release.fails == "console":
            return Response.of_json({"error": "Internal server error"}, 500)
        method = "GET" if request.method == "HEAD" else request.method
        try:
            if route := self._routes.get((method, request.path)):
                return route(request)
            if _protected(request.path):
                return self._refuse(request)
            return self._other(request)
        except HttpError as error:
            return Response.of_error(error)
        except sqlite3.Error as error:
            return Response.of_json({"error": f"Database error: {error}"}, 500)

    def _health(self, _request: Request) -> Response:
        uptime = f"{time.monotonic() - self._started:.3f}s"
        try:
            with self._context.database.read() as connection:
                connection.execute("SELECT count(*) FROM users").fetchone()
        except sqlite3.Error:
            return health(self._context.release, "unhealthy", database="disconnected")
        release = self._context.release
        features = list(release.features)
        return health(release, database="connected", uptime=uptime, features=features)

    def _status(self, _request: Request) -> Response:
        return Response.of_json({"services": overview(self._context.settings)})

    def _other(self, request: Request) -> Response:
        if request.method not in {"GET", "HEAD"}:
            raise HttpError(404, "Not found")
        if self._pages:
            return self._pages.page(request.path)
        if request.path in {"/", "/console"}:
            version = self._context.release.version
            about = {"service": "infra-core-console", "version": version, "status": "running"}
            return Response.of_json(about)
        raise HttpError(404, "Not found")


def _protected(path: str) -> bool:
    below = path.removeprefix("/api/v1/")
    return below != path and (below.partition("/")[0] in PROTECTED or below == "auth/me")
