"""Handlers that bring provider accounts to hosts: preview, import, and runs of many imports.

An account is kept as a fingerprint of its key: enough to see that it is the same one, useless
to anybody who reads the database.
"""

import hashlib
import json
import sqlite3
from typing import Any

from ...serving.http import HttpError, Request, Response
from . import checks, hosts
from .context import Context
from .store import now

Json = dict[str, Any]


def preview(context: Context, request: Request, provider_id: str) -> Response:
    """Tell what an import would do, without doing it."""
    pack_id, manifest = context.packs.find_provider(checks.slug(provider_id, "provider_id"))
    body = request.json()
    host_id, accounts = checks.row_id(body, "host_id"), _accounts(body)
    with context.database.write() as db:
        hosts.require(db, host_id)
        plan = [
            {"account": name, "action": "skip" if _known(db, provider_id, host_id, name) else "add"}
            for name, _ in accounts
        ]
        preview_id = db.execute(
            "INSERT INTO import_previews (provider_id, host_id, plan, created_at) "
            "VALUES (?, ?, ?, ?)",
            (provider_id, host_id, json.dumps(plan), now()),
        ).lastrowid
    return Response.of_json(
        {
            "preview_id": preview_id,
            "provider_id": provider_id,
            "pack_id": pack_id,
            "host_id": host_id,
            "models": manifest.get("models", []),
            "plan": plan,
        }
    )


def run_import(context: Context, request: Request, provider_id: str) -> Response:
    """Import accounts of a provider to a host; accounts that are there are left alone."""
    pack_id, manifest = context.packs.find_provider(checks.slug(provider_id, "provider_id"))
    body = request.json()
    host_id, accounts = checks.row_id(body, "host_id"), _accounts(body)
    with context.database.write() as db:
        hosts.require(db, host_id)
        _remember_provider(db, pack_id, provider_id, manifest)
        batch_id, created = _import_accounts(db, provider_id, host_id, accounts)
    return Response.of_json(
        {
            "batch_id": batch_id,
            "provider_id": provider_id,
            "host_id": host_id,
            "created": created,
            "skipped": len(accounts) - created,
        },
        201,
    )


def create_run(context: Context, request: Request) -> Response:
    """Import many accounts of several providers; one that fails does not stop the others."""
    body = request.json()
    host_id = checks.row_id(body, "host_id")
    wanted = [
        (checks.slug(item.get("provider_id"), "provider_id"), checks.text(item, "account"), item)
        for item in checks.objects(body, "items")
    ]
    providers = {provider_id: _find(context, provider_id) for provider_id, _, _ in wanted}
    with context.database.write() as db:
        hosts.require(db, host_id)
        run_id = db.execute(
            "INSERT INTO batch_import_runs (host_id, status, total, failed, created_at) "
            "VALUES (?, 'running', ?, 0, ?)",
            (host_id, len(wanted), now()),
        ).lastrowid
        failed = 0
        for provider_id, account, item in wanted:
            found = providers[provider_id]
            if found is None:
                status, detail = "failed", "no pack has this provider"
                failed += 1
            else:
                _remember_provider(db, found[0], provider_id, found[1])
                _, created = _import_accounts(
                    db, provider_id, host_id, [(account, _fingerprint(item))]
                )
                status, detail = ("imported", "") if created else ("skipped", "is there already")
            db.execute(
                "INSERT INTO batch_import_items (run_id, provider_id, account, status, detail) "
                "VALUES (?, ?, ?, ?, ?)",
                (run_id, provider_id, account, status, detail),
            )
        db.execute(
            "UPDATE batch_import_runs SET status = ?, failed = ? WHERE id = ?",
            ("completed" if not failed else "completed_with_errors", failed, run_id),
        )
        run = _read_run(db, run_id)
    return Response.of_json(run, 201, Location=f"/api/batch-import/runs/{run_id}")


def list_runs(context: Context, _request: Request) -> Response:
    """Return the latest runs."""
    with context.database.read() as db:
        rows = db.execute("SELECT * FROM batch_import_runs ORDER BY id DESC LIMIT 100").fetchall()
    return Response.of_json({"runs": [dict(row) for row in rows]})


def show_run(context: Context, _request: Request, run_id: str) -> Response:
    """One run and its outcome."""
    with context.database.read() as db:
        return Response.of_json(_read_run(db, checks.number(run_id, "run_id")))


def run_items(context: Context, _request: Request, run_id: str) -> Response:
    """Tell what became of each item of a run."""
    number = checks.number(run_id, "run_id")
    with context.database.read() as db:
        _read_run(db, number)
        rows = db.execute(
            "SELECT id, provider_id, account, status, detail FROM batch_import_items "
            "WHERE run_id = ? ORDER BY id",
            (number,),
        ).fetchall()
    return Response.of_json({"items": [dict(row) for row in rows]})


def _find(context: Context, provider_id: str) -> tuple[str, Json] | None:
    try:
        return context.packs.find_provider(provider_id)
    except HttpError:
        return None


def _accounts(body: Json) -> list[tuple[str, str]]:
    return [
        (checks.text(account, "name"), _fingerprint(account))
        for account in checks.objects(body, "accounts")
    ]


def _fingerprint(account: Json) -> str:
    key = account.get("api_key", "")
    if not isinstance(key, str):
        raise HttpError(400, "api_key must be a text")
    return hashlib.sha256(b"provider account\0" + key.encode()).hexdigest()[:16]


def _known(db: sqlite3.Connection, provider_id: str, host_id: int, name: str) -> bool:
    row = db.execute(
        "SELECT 1 FROM provider_accounts WHERE provider_id = ? AND host_id = ? AND name = ?",
        (provider_id, host_id, name),
    ).fetchone()
    return row is not None


def _remember_provider(
    db: sqlite3.Connection, pack_id: str, provider_id: str, manifest: Json
) -> None:
    db.execute(
        "INSERT INTO providers VALUES (?, ?, ?, 'active', ?) ON CONFLICT (id) DO UPDATE SET "
        "pack_id = excluded.pack_id, display_name = excluded.display_name, "
        "updated_at = excluded.updated_at",
        (provider_id, pack_id, str(manifest.get("display_name", provider_id)), now()),
    )
    models = manifest.get("models")
    for model in models if isinstance(models, list) else []:
        db.execute("INSERT OR IGNORE INTO provider_models VALUES (?, ?)", (provider_id, str(model)))


def _import_accounts(
    db: sqlite3.Connection, provider_id: str, host_id: int, accounts: list[tuple[str, str]]
) -> tuple[int | None, int]:
    batch_id = db.execute(
        "INSERT INTO import_batches (provider_id, host_id, created, skipped, created_at) "
        "VALUES (?, ?, 0, 0, ?)",
        (provider_id, host_id, now()),
    ).lastrowid
    created = 0
    for name, fingerprint in accounts:
        added = db.execute(
            "INSERT OR IGNORE INTO provider_accounts (provider_id, host_id, name, fingerprint, "
            "created_at) VALUES (?, ?, ?, ?, ?)",
            (provider_id, host_id, name, fingerprint, now()),
        ).rowcount
        if added:
            created += 1
            db.execute(
                "INSERT INTO managed_resources (batch_id, kind, reference, created_at) "
                "VALUES (?, 'account', ?, ?)",
                (batch_id, f"{provider_id}/{name}", now()),
            )
    db.execute(
        "UPDATE import_batches SET created = ?, skipped = ? WHERE id = ?",
        (created, len(accounts) - created, batch_id),
    )
    db.execute(
        "INSERT INTO access_closures (batch_id, status, closed_at) VALUES (?, 'closed', ?)",
        (batch_id, now()),
    )
    return batch_id, created


def _read_run(db: sqlite3.Connection, run_id: int | None) -> Json:
    row = db.execute("SELECT * FROM batch_import_runs WHERE id = ?", (run_id,)).fetchone()
    if row is None:
        raise HttpError(404, f"there is no run {run_id}")
    return dict(row)
