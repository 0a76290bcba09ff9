"""Handlers of `/api/provider-drafts` and `/api/packs`: prepare a provider, then publish it."""

import json
import sqlite3
from typing import Any

from ...serving.http import HttpError, Request, Response
from . import checks
from .context import Context
from .store import now

_COLUMNS = "id, pack_id, provider_id, manifest, status, created_at, updated_at"


def create(context: Context, request: Request) -> Response:
    """Save a new draft; one for each provider of a pack."""
    pack_id, provider_id, manifest = _fields(request.json())
    with context.database.write() as db:
        try:
            draft_id = db.execute(
                "INSERT INTO provider_drafts (pack_id, provider_id, manifest, created_at, "
                "updated_at) VALUES (?, ?, ?, ?, ?)",
                (pack_id, provider_id, manifest, now(), now()),
            ).lastrowid
        except sqlite3.IntegrityError as error:
            raise _taken(pack_id, provider_id) from error
        draft = _read(db, draft_id)
    return Response.of_json(draft, 201, Location=f"/api/provider-drafts/{draft_id}")


def listing(context: Context, _request: Request) -> Response:
    """All drafts, the one that changed last first."""
    with context.database.read() as db:
        rows = db.execute(
            f"SELECT {_COLUMNS} FROM provider_drafts "  # noqa: S608 (constant columns)
            "ORDER BY updated_at DESC, id DESC LIMIT 1000"
        ).fetchall()
    return Response.of_json({"drafts": [_as_json(row) for row in rows]})


def show(context: Context, _request: Request, draft_id: str) -> Response:
    """One draft."""
    with context.database.read() as db:
        return Response.of_json(_read(db, checks.number(draft_id, "draft_id")))


def update(context: Context, request: Request, draft_id: str) -> Response:
    """Replace a draft; it has to be published again to take effect."""
    number = checks.number(draft_id, "draft_id")
    pack_id, provider_id, manifest = _fields(request.json())
    with context.database.write() as db:
        _read(db, number)
        try:
            db.execute(
                "UPDATE provider_drafts SET pack_id = ?, provider_id = ?, manifest = ?, "
                "status = 'draft', updated_at = ? WHERE id = ?",
                (pack_id, provider_id, manifest, now(), number),
            )
        except sqlite3.IntegrityError as error:
            raise _taken(pack_id, provider_id) from error
        return Response.of_json(_read(db, number))


def delete(context: Context, _request: Request, draft_id: str) -> Response:
    """Forget a draft; what was published from it stays published."""
    number = checks.number(draft_id, "draft_id")
    with context.database.write() as db:
        _read(db, number)
        db.execute("DELETE FROM provider_drafts WHERE id = ?", (number,))
    return Response(204)


def publish(context: Context, _request: Request, draft_id: str) -> Response:
    """Write the draft into its pack as one commit.

    Git comes first and takes its time outside any transaction. If the process dies before the
    row is written, publishing again finds the same content, commits nothing and records it.
    """
    number = checks.number(draft_id, "draft_id")
    with context.database.read() as db:
        draft = _read(db, number)
    pack_id, provider_id = draft["pack_id"], draft["provider_id"]
    done = context.packs.publish(pack_id, provider_id, draft["manifest"])
    with context.database.write() as db:
        # Only what was published is marked so: the draft may have been edited meanwhile.
        db.execute(
            "UPDATE provider_drafts SET status = 'published' WHERE id = ? AND manifest = ?",
            (number, _dump(draft["manifest"])),
        )
        if done.changed:
            db.execute(
                "INSERT INTO draft_publications (draft_id, pack_id, provider_id, version, "
                "commit_id, published_at) VALUES (?, ?, ?, ?, ?, ?)",
                (number, pack_id, provider_id, done.version, done.commit, now()),
            )
        db.execute(
            "INSERT INTO packs VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE "
            "SET version = excluded.version, seen_at = excluded.seen_at",
            (pack_id, done.version, now()),
        )
    return Response.of_json(
        {
            "pack_id": pack_id,
            "provider_id": provider_id,
            "version": done.version,
            "commit": done.commit,
            "changed": done.changed,
        }
    )


def packs(context: Context, _request: Request) -> Response:
    """Return the packs in the repository."""
    return Response.of_json({"packs": context.packs.packs()})


def pack_providers(context: Context, _request: Request, pack_id: str) -> Response:
    """Return the published providers of one pack."""
    return Response.of_json({"providers": context.packs.providers(pack_id)})


def _fields(body: dict[str, Any]) -> tuple[str, str, str]:
    manifest = body.get("manifest")
    if not isinstance(manifest, dict):
        raise HttpError(400, "manifest is required and must be an object")
    return (
        checks.slug(body.get("pack_id"), "pack_id"),
        checks.slug(body.get("provider_id"), "provider_id"),
        _dump(manifest),
    )


def _dump(manifest: dict[str, Any]) -> str:
    return json.dumps(manifest, ensure_ascii=False, sort_keys=True)


def _read(db: sqlite3.Connection, draft_id: int | None) -> dict[str, Any]:
    row = db.execute(
        f"SELECT {_COLUMNS} FROM provider_drafts WHERE id = ?",  # noqa: S608 (constant columns)
        (draft_id,),
    ).fetchone()
    if row is None:
        raise HttpError(404, f"there is no draft {draft_id}")
    return _as_json(row)


def _as_json(row: sqlite3.Row) -> dict[str, Any]:
    return {**dict(row), "manifest": json.loads(row["manifest"])}


def _taken(pack_id: str, provider_id: str) -> HttpError:
    return HttpError(409, f"there is another draft of {provider_id!r} in pack {pack_id!r}")
