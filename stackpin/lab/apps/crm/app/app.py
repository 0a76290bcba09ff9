"""Routing: from a request to its handler, with authentication before anything below `/api/`."""

import re
import sqlite3
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote

from ...serving.http import HttpError, Request, Response
from . import admin, drafts, hosts, imports
from .context import Context, log

Handler = Callable[..., Response]


@dataclass(frozen=True)
class Route:
    """A path pattern and its handlers by method; `open` routes ask for no authentication."""

    pattern: re.Pattern[str]
    methods: dict[str, Handler]
    open: bool = False


def _route(path: str, *, unguarded: bool = False, **methods: Handler) -> Route:
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)
    return Route(re.compile(pattern), methods, unguarded)


ROUTES = (
    _route("/healthz", unguarded=True, GET=admin.healthz),
    _route("/metrics", unguarded=True, GET=admin.metrics),
    _route("/api/version", unguarded=True, GET=admin.version),
    _route("/api/admin/login", unguarded=True, POST=admin.login),
    _route("/api/admin/logout", POST=admin.logout),
    _route("/api/admin/session", unguarded=True, GET=admin.session),
    _route("/api/hosts", GET=hosts.listing, POST=hosts.create),
    _route("/api/hosts/{host_id}", GET=hosts.show),
    _route("/api/packs", GET=drafts.packs),
    _route("/api/packs/{pack_id}/providers", GET=drafts.pack_providers),
    _route("/api/provider-drafts", GET=drafts.listing, POST=drafts.create),
    _route(
        "/api/provider-drafts/{draft_id}",
        GET=drafts.show,
        PUT=drafts.update,
        DELETE=drafts.delete,
    ),
    _route("/api/provider-drafts/{draft_id}/publish", POST=drafts.publish),
    _route("/api/providers/{provider_id}/preview-import", POST=imports.preview),
    _route("/api/providers/{provider_id}/import", POST=imports.run_import),
    _route("/api/batch-import/runs", GET=imports.list_runs, POST=imports.create_run),
    _route("/api/batch-import/runs/{run_id}", GET=imports.show_run),
    _route("/api/batch-import/runs/{run_id}/items", GET=imports.run_items),
)


class App:
    """The application: a request in, a response out, never an exception."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        began = time.monotonic()
        try:
            response = self._answer(request)
        except HttpError as error:
            response = Response.of_error(error)
        except sqlite3.OperationalError as error:
            log(f"database: {error}")
            response = Response.of_error(
                HttpError(503, "the database is busy or unavailable", Retry_After="1")
            )
        except Exception:  # one bad request must not end the service
            log(traceback.format_exc())
            response = Response.of_error(HttpError(500, "internal error"))
        seconds = time.monotonic() - began
        known = request.method in ("GET", "HEAD", "POST", "PUT", "DELETE")
        self._context.metrics.count(request.method if known else "other", response.status, seconds)
        if self._context.settings.access_log:
            # The path alone: a query, a header or a body may hold a secret.
            line = f"{request.method} {request.path} {response.status} {seconds * 1000:.1f} ms"
            log(line.encode("ascii", "backslashreplace").decode())
        return response

    def _answer(self, request: Request) -> Response:
        is_api = request.path.startswith("/api/")
        if is_api and self._context.release.api_fails:
            raise HttpError(500, "internal error")
        route, parameters = _find(request.path)
        if is_api and not (route and route.open):
            # Also for unknown paths: a stranger learns nothing about what there is.
            self._context.auth.identify(request)
        if route is None:
            raise HttpError(404, "there is nothing here")
        method = "GET" if request.method == "HEAD" else request.method
        handler = route.methods.get(method)
        if handler is None:
            raise HttpError(405, "this method is not allowed here", Allow=", ".join(route.methods))
        return handler(self._context, request, **parameters)


def _find(path: str) -> tuple[Route | None, dict[str, str]]:
    for route in ROUTES:
        if match := route.pattern.fullmatch(path):
            return route, {name: unquote(value) for name, value in match.groupdict().items()}
    return None, {}
