"""Removing releases nobody will want back."""

from __future__ import annotations

import contextlib
import importlib
import shutil
import time
from pathlib import Path
from typing import Any

from stackpin.host import journal, members, pointer, releases, runs, slots
from stackpin.host.disk import sync_dir
from stackpin.host.errors import HostError
from stackpin.host.stack import SLOTS, Stack

__all__ = ["prune"]

UPLOAD_AGE = 86400.0  # seconds after which an unused upload is rubbish


def prune(
    stack: Stack, *, keep: int, pinned: tuple[str, ...] = (), dry: bool = False
) -> dict[str, Any]:
    """Remove all but the newest `keep` releases -> {removed: [id], kept: [{id, why}]}.

    Never removed: the live one, the last good one, pinned ones (by id or version), what a slot
    is linked to, what a release of a member names, and what an open run comes from or goes to.
    Call under the mutex.
    """
    needed = _needed(stack, (*stack.pinned, *pinned))
    removed: list[str] = []
    images: list[str] = []
    kept: list[dict[str, str]] = []
    for place, item in enumerate(releases.describe(stack)):
        name = str(item["id"])
        why = needed.get(name) or needed.get(str(item["version"]))
        if why is None and place < keep:
            why = f"among the newest {keep}"
        if why is not None:
            kept.append({"id": name, "why": why})
            continue
        removed.append(name)
        if not dry:
            images += releases.images(stack, name)
            _remove(stack, name)
    if not dry:
        _remove_rubbish(stack)
        _remove_images(stack, images)
    return {"removed": removed, "kept": kept}


def _needed(stack: Stack, pinned: tuple[str, ...]) -> dict[str, str]:
    live = pointer.live_release(stack)
    needed: dict[str, str] = {**members.needed_trees(stack), **dict.fromkeys(pinned, "pinned")}
    if not stack.is_static:
        needed.update({str(slots.linked(stack, slot)): f"in slot {slot}" for slot in SLOTS})
    run = runs.load(stack)
    if run is not None and not runs.ended(run):
        needed[str(run["release"])] = "the open run goes to it"
        needed[str(run["from_release"])] = "the open run comes from it"
    needed[str(journal.last_good(stack, live))] = "last good"
    needed[str(live)] = "live"
    return needed


def _remove(stack: Stack, release: str) -> None:
    # Renamed first, so that a release being removed is never taken for a complete one.
    gone = stack.releases_dir / f".gone-{release}"
    shutil.rmtree(gone, ignore_errors=True)
    stack.release_dir(release).rename(gone)
    sync_dir(stack.releases_dir)
    shutil.rmtree(gone, ignore_errors=True)


def _remove_images(stack: Stack, images: list[str]) -> None:
    """Remove the images only removed releases needed; one in use stays, docker sees to that."""
    kept = {ref for item in releases.describe(stack) for ref in releases.images(stack, item["id"])}
    gone = sorted(set(images) - kept)
    if gone:
        with contextlib.suppress(HostError):
            importlib.import_module("stackpin.host.images").forget(gone)


def _remove_rubbish(stack: Stack) -> None:
    if stack.releases_dir.is_dir():
        for path in stack.releases_dir.iterdir():
            if path.name.startswith((".gone-", ".old-", ".tmp-")):
                shutil.rmtree(path, ignore_errors=True)
    if stack.incoming_dir.is_dir():
        for path in stack.incoming_dir.iterdir():
            _remove_old_upload(path)


def _remove_old_upload(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_file() and time.time() - path.stat().st_mtime > UPLOAD_AGE:
            path.unlink()
