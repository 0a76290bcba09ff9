"""Back up a stack with restic, list its backups, prove that one can be restored."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stackpin.host import disk, journal, members, snapshot
from stackpin.host.errors import HostError, failed, refused
from stackpin.host.mutex import flock, state_dir
from stackpin.host.progress import say
from stackpin.host.restic import Repository
from stackpin.host.stack import Stack

__all__ = ["COMMANDS", "backup", "fetched"]

WAIT = 600.0  # seconds another backup of the same stack is waited for
_TAG = re.compile(r"^[A-Za-z0-9._=:+-]{1,100}$")


def backup(stack: Stack, payload: dict[str, Any]) -> dict[str, Any]:
    """Store database, settings, the configured paths and a keeper's releases in use; then forget.

    payload: {release: id or null (the live one), reason, tags: [text], who}. Safe under write
    load: every row acknowledged before the call is in it. Returns {id, snapshot, repository,
    release, tags, database: {path, size, tables: {name: rows}, schema_version} or null, paths,
    skipped: [configured paths that are absent], added_bytes, total_bytes, removed: [ids],
    seconds}. Raises HostError(refused): no restic, no room, or a password missing;
    HostError(error): the database is damaged or restic failed.
    """
    started = time.monotonic()
    reason = str(payload.get("reason") or "asked for")
    tags = [str(tag) for tag in payload.get("tags") or []]
    for tag in tags:
        if not _TAG.match(tag):
            raise refused(f"tag {tag!r}: expected letters, digits and ._=:+-")
    repository = Repository(stack)
    # Always the same place: restic finds the files of the backup before, and reads only changes.
    staging = state_dir(stack) / "backup"
    with flock(stack.state_dir / "backup.lock", timeout=WAIT):
        repository.prepare()
        _remove(staging)
        disk.make_dir(staging, 0o700)
        try:
            meta = snapshot.build(stack, staging, reason=reason, release=payload.get("release"))
            also = [stack.at(path) for path in (stack.backup or {}).get("paths") or []]
            also += members.in_use(stack)
            present = [path for path in also if path.exists()]
            named = [f"release={meta['release'] or 'none'}", f"reason={reason[:80]}", *tags]
            say(f"backup of {stack.name} to {repository.location}")
            summary = repository.backup([staging, *present], named)
        finally:
            _remove(staging)
        removed = repository.forget()
    found = str(summary["snapshot_id"])
    journal.append(
        stack,
        "backup",
        release=meta["release"],
        who=payload.get("who"),
        command="backup",
        reason=f"{reason} ({found[:8]})",
    )
    return {
        "id": found[:8],
        "snapshot": found,
        "repository": repository.location,
        "release": meta["release"],
        "tags": tags,
        "database": meta["database"],
        "paths": [str(path) for path in present],
        "skipped": [str(path) for path in also if path not in present],
        "added_bytes": summary.get("data_added"),
        "total_bytes": summary.get("total_bytes_processed"),
        "removed": removed,
        "seconds": round(time.monotonic() - started, 3),
    }


def backup_list(stack: Stack, _payload: dict[str, Any]) -> dict[str, Any]:
    """List the stack's backups, oldest first.

    Returns {repository, backups: [{id, snapshot, time, release, reason, tags, host, paths}]}.
    """
    repository = Repository(stack)
    repository.require_program()
    found = [_shown(item) for item in repository.snapshots()]
    return {"repository": repository.location, "backups": found}


def _shown(item: dict[str, Any]) -> dict[str, Any]:
    tags = [str(tag) for tag in item.get("tags") or []]
    known = dict(tag.split("=", 1) for tag in tags if tag.startswith(("release=", "reason=")))
    own = ("release=", "reason=", "stack=")
    return {
        "id": str(item["id"])[:8],
        "snapshot": item["id"],
        "time": item["time"],
        "release": known.get("release"),
        "reason": known.get("reason"),
        "tags": [tag for tag in tags if tag != "stackpin" and not tag.startswith(own)],
        "host": item.get("hostname"),
        "paths": item.get("paths") or [],
    }


def backup_verify(stack: Stack, payload: dict[str, Any]) -> dict[str, Any]:
    """Read the whole repository, restore one backup to a scratch directory and open it.

    payload: {id: backup or null (the newest)}. Returns {id, time, release, repository, database:
    {path, size, tables, schema_version} or null, rows: {table: count}, files: count, seconds}.
    Raises HostError(error) with detail {problems: [text]} when anything is damaged.
    """
    started = time.monotonic()
    repository = Repository(stack)
    repository.require_program()
    chosen = _shown(repository.find(_wanted(payload)))
    found: list[str] = []
    meta: dict[str, Any] = {}
    try:
        say(f"reading all of {repository.location}")
        repository.check()
    except HostError as problem:
        found.append(problem.message)
    try:
        with fetched(stack, repository, chosen["snapshot"]) as (directory, meta):
            found += snapshot.problems(directory, meta, stack)
    except HostError as problem:
        found.append(problem.message)
    if found:
        raise failed(
            f"backup {chosen['id']} of {stack.name} in {repository.location} is damaged: "
            f"{found[0]}; keep the live data safe and make a new repository",
            problems=found,
            id=chosen["id"],
        )
    return {
        "id": chosen["id"],
        "time": chosen["time"],
        "release": chosen["release"],
        "repository": repository.location,
        "database": meta["database"],
        "rows": (meta["database"] or {}).get("tables") or {},
        "files": len(meta["files"]),
        "seconds": round(time.monotonic() - started, 3),
    }


def _wanted(payload: dict[str, Any]) -> str | None:
    wanted = payload.get("id")
    return None if wanted in {None, "latest"} else str(wanted)


@contextmanager
def fetched(
    stack: Stack, repository: Repository, wanted: str
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Restore a backup's own part to a private directory for a moment: (directory, meta).

    It lies beside the state, where there is room for it and no tmpfs, and is always removed.
    """
    base = state_dir(stack) / "verify"
    with flock(stack.state_dir / "verify.lock", timeout=WAIT):
        _remove(base)  # what a killed one left
        disk.make_dir(base, 0o700)
        try:
            staging = stack.state_dir / "backup"
            repository.restore(wanted, base, [staging])
            directory = base / str(staging).lstrip("/")
            yield directory, snapshot.read_meta(directory)
        finally:
            _remove(base)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)


COMMANDS = {"backup": backup, "backup-list": backup_list, "backup-verify": backup_verify}
