"""Handlers of `/api/hosts`: the hosts this control plane knows."""

import sqlite3
from typing import Any

from ...serving.http import HttpError, Request, Response
from . import checks
from .context import Context
from .releases import HOST_LABELS
from .store import now

_COLUMNS = "id, name, base_url, status, created_at"


def create(context: Context, request: Request) -> Response:
    """Register a host. When 201 is answered, the row is on the disk."""
    body = request.json()
    name, url = checks.text(body, "name"), checks.web_url(body, "base_url")
    credential = body.get("admin_credential")
    if credential is not None:
        credential = checks.text(body, "admin_credential", longest=2000)
    with context.database.write() as db:
        try:
            host_id = db.execute(
                "INSERT INTO hosts (name, base_url, created_at) VALUES (?, ?, ?)",
                (name, url, now()),
            ).lastrowid
        except sqlite3.IntegrityError as error:
            raise HttpError(409, f"a host named {name!r} is registered already") from error
        if credential is not None:
            db.execute(
                "INSERT INTO host_credentials VALUES (?, 'admin', ?, ?)",
                (host_id, credential, now()),
            )
        if HOST_LABELS in context.release.features:
            _set_labels(db, host_id, body)
        host = _read_one(context, db, host_id)
    return Response.of_json(host, 201, Location=f"/api/hosts/{host_id}")


def listing(context: Context, request: Request) -> Response:
    """Hosts, newest first, a page at a time: `?limit=`, `?before=<id>`; or one by `?name=`."""
    query = request.query
    limit = checks.number(query.get("limit", "100"), "limit", highest=1000)
    before = checks.number(query.get("before", str(2**53)), "before")
    columns = _columns(context)
    with context.database.read() as db:
        if "name" in query:
            rows = db.execute(
                f"SELECT {columns} FROM hosts WHERE name = ?",  # noqa: S608 (constant columns)
                (query["name"],),
            ).fetchall()
        else:
            rows = db.execute(
                f"SELECT {columns} FROM hosts "  # noqa: S608 (constant columns)
                "WHERE id < ? ORDER BY id DESC LIMIT ?",
                (before, limit),
            ).fetchall()
    return Response.of_json({"hosts": [dict(row) for row in rows]})


def show(context: Context, _request: Request, host_id: str) -> Response:
    """One host."""
    with context.database.read() as db:
        return Response.of_json(_read_one(context, db, checks.number(host_id, "host_id")))


def require(db: sqlite3.Connection, host_id: int) -> None:
    """404 when there is no such host."""
    if db.execute("SELECT 1 FROM hosts WHERE id = ?", (host_id,)).fetchone() is None:
        raise HttpError(404, f"there is no host {host_id}")


def _columns(context: Context) -> str:
    return _COLUMNS + (", region" if HOST_LABELS in context.release.features else "")


def _read_one(context: Context, db: sqlite3.Connection, host_id: int | None) -> dict[str, Any]:
    row = db.execute(
        f"SELECT {_columns(context)} FROM hosts WHERE id = ?",  # noqa: S608 (constant columns)
        (host_id,),
    ).fetchone()
    if row is None:
        raise HttpError(404, f"there is no host {host_id}")
    host = dict(row)
    if HOST_LABELS in context.release.features:
        labels = db.execute("SELECT name, value FROM host_labels WHERE host_id = ?", (host_id,))
        host["labels"] = {label["name"]: label["value"] for label in labels}
    return host


def _set_labels(db: sqlite3.Connection, host_id: int | None, body: dict[str, Any]) -> None:
    if body.get("region") is not None:
        region = checks.text(body, "region", longest=60)
        db.execute("UPDATE hosts SET region = ? WHERE id = ?", (region, host_id))
    labels = body.get("labels", {})
    if not isinstance(labels, dict) or len(labels) > 50:
        raise HttpError(400, "labels must be an object of at most 50 texts")
    for name in labels:
        value = checks.text(labels, name)
        db.execute(
            "INSERT INTO host_labels VALUES (?, ?, ?)", (host_id, checks.slug(name, "label"), value)
        )
