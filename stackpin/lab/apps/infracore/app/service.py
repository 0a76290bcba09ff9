"""What the five services have in common: a context to work with, doors, and work to repeat."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from ...serving.http import HttpError, Request, Response
from .database import Database
from .releases import Release
from .settings import Settings

__all__ = ["Context", "Door", "Handler", "Service", "health", "log", "now", "routed"]

Handler = Callable[[Request], Response]
ALL = ""
"""The host of a door that is open at every address."""


@dataclass(frozen=True)
class Context:
    """What a service with a database is made from."""

    settings: Settings
    release: Release
    database: Database


@dataclass(frozen=True)
class Door:
    """A port and what answers there; an empty host is every address."""

    port: int
    answer: Handler
    host: str = ALL


@dataclass(frozen=True)
class Service:
    """One service, ready to be run: `main` opens the doors in order and stops it."""

    doors: tuple[Door, ...]
    work: Callable[[], None] = lambda: None
    """Done when the doors are open, and then again..."""
    every: float | None = None
    """...each time so many seconds have passed; None: only once."""


def now() -> str:
    """Return the present moment: UTC, with microseconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def log(line: str) -> None:
    """One line on standard output, at once: it may be a pipe to the journal."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def health(release: Release, status: str = "healthy", **more: object) -> Response:
    """Answer a question about health: 200, or 503 when the status is another."""
    about = {"version": release.version, "release": os.environ.get("STACKPIN_RELEASE", "")}
    body = {"status": status, **more, "timestamp": now(), **about}
    return Response.of_json(body, 200 if status == "healthy" else 503)


def routed(routes: dict[str, Callable[[], Response]]) -> Handler:
    """Answer GET of these paths, and 404 to everything else."""

    def answer(request: Request) -> Response:
        route = routes.get(request.path)
        if route is None or request.method not in {"GET", "HEAD"}:
            return Response.of_error(HttpError(404, "Not found"))
        return route()

    return answer
