"""Handlers about the service itself: health, version, metrics, login."""

import sqlite3

from ...serving.http import HttpError, Request, Response
from .auth import Identity, refuse_cross_site
from .context import Context


def healthz(context: Context, _request: Request) -> Response:
    """`ok` when the database answers, too."""
    try:
        with context.database.read() as db:
            db.execute("SELECT count(*) FROM schema_migrations").fetchone()
    except sqlite3.Error:
        return Response.of_text("database unavailable", 503)
    return Response.of_text("ok")


def version(context: Context, _request: Request) -> Response:
    """Which release runs, under which release name, with which features."""
    body: dict[str, object] = {
        "version": context.release.version,
        "release": context.settings.release_name,
    }
    if context.release.features:
        body["features"] = list(context.release.features)
    return Response.of_json(body)


def metrics(context: Context, _request: Request) -> Response:
    """Prometheus metrics; open, as they hold counts only."""
    with context.database.read() as db:
        hosts = db.execute("SELECT count(*) FROM hosts").fetchone()[0]
        providers = db.execute("SELECT count(*) FROM providers").fetchone()[0]
        connections = context.database.active
    page = context.metrics.render(hosts=hosts, providers=providers, connections=connections)
    response = Response.of_text(page)
    response.content_type = "text/plain; version=0.0.4; charset=utf-8"
    return response


def login(context: Context, request: Request) -> Response:
    """Exchange user name and password for a session cookie."""
    refuse_cross_site(request)
    body = request.json()
    username, password = body.get("username"), body.get("password")
    if not isinstance(username, str) or not isinstance(password, str):
        raise HttpError(400, "username and password are required and must be texts")
    identity, value = context.auth.login(username, password)
    cookie = context.auth.cookie(request, value, int(context.settings.session_ttl))
    return Response.of_json(_session(identity), Set_Cookie=cookie)


def logout(context: Context, request: Request) -> Response:
    """End the session this request came with."""
    identity = context.auth.identify(request)
    if identity.session:
        context.auth.logout(identity)
    return Response(204, headers={"Set-Cookie": context.auth.cookie(request, "", 0)})


def session(context: Context, request: Request) -> Response:
    """Tell who the caller is, if anybody: a page asks this to know whether to show its login."""
    try:
        return Response.of_json(_session(context.auth.identify(request)))
    except HttpError:
        return Response.of_json({"authenticated": False})


def _session(identity: Identity) -> dict[str, object]:
    return {
        "authenticated": True,
        "username": identity.username,
        "expires_at": int(identity.expires_at) or None,
    }
