"""Put a backup back on one host: seen first, in maintenance mode, undone when it does not serve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from stackpin.care.fleet import Voice, change
from stackpin.engine.remote import RemoteGate, RemoteRefused
from stackpin.engine.session import Session
from stackpin.rollout.model import whoami

__all__ = ["describe", "restore", "view"]

RESTORE_TIMEOUT = 3600.0


def view(session: Session, host: str, part: str, snapshot: str) -> dict[str, Any]:
    """Ask the host what restoring `snapshot` (an id, or latest) would lose; changes nothing."""
    payload = {"dry": True, **({} if snapshot == "latest" else {"id": snapshot})}
    answer = session.call(host, "restore", part, payload, timeout=RESTORE_TIMEOUT)
    return {key: value for key, value in answer.items() if key != "ok"}


def describe(seen: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a restore would do, as lines."""
    yield f"backup {seen.get('id')} of {seen.get('time')}, release {seen.get('release')}"
    if seen.get("release") != seen.get("release_now"):
        yield f"  the release stays {seen.get('release_now')}; it migrates the database it finds"
    schema: Mapping[str, Any] = seen.get("schema_version") or {}
    if schema.get("now") != schema.get("then"):
        yield f"  schema version {schema.get('now')} now, {schema.get('then')} in the backup"
    lost: Mapping[str, Any] = seen.get("lost") or {}
    for table, counts in lost.items():
        now = "unreadable" if counts.get("now") is None else f"{counts['now']} rows"
        yield f"  {table}: {now} now, {counts.get('then')} in the backup"
    if not lost:
        yield "  every table has as many rows now as in the backup"
    span = _span(str(seen.get("time") or ""))
    yield f"  every change made since that time is lost{span}; a safety backup is taken first"


def _span(time: str) -> str:
    """Say how long ago that was, where it can be read."""
    try:
        then = datetime.fromisoformat(time)
        seconds = (datetime.now(UTC) - then).total_seconds()
    except (ValueError, TypeError):
        return ""
    minutes = max(0, int(seconds // 60))
    days, hours = minutes // 1440, minutes % 1440 // 60
    longer = f"{days} d {hours} h " if days else f"{hours} h " if hours else ""
    return f" ({longer}{minutes % 60} min)"


def restore(
    session: Session, host: str, part: str, seen: Mapping[str, Any], voice: Voice
) -> dict[str, Any]:
    """Restore the backup of view `seen`; maintenance is switched on for it and off after success.

    After a failure in which the host put the previous database back and serves it, maintenance is
    switched off as well; where the host cannot say so it stays on, and the error says so.
    """
    with change(session, part, f"restore {str(seen.get('id'))[:8]}", [host]):
        who = {"who": whoami()}
        was_on = bool(session.call(host, "state", part).get("maintenance"))
        if not was_on:
            session.call(host, "maintenance", part, {**who, "on": True, "reason": "restore"})
        payload = {
            "id": seen.get("snapshot") or seen.get("id"),
            "confirm_token": seen.get("confirm_token"),
            **who,
        }
        try:
            done = session.call(
                host,
                "restore",
                part,
                payload,
                timeout=RESTORE_TIMEOUT,
                on_line=lambda text: voice.note(f"{host}: {text}"),
            )
        except BaseException as error:  # also Ctrl-C: the host goes on by itself
            if not was_on and isinstance(error, RemoteRefused | RemoteGate):
                session.call(
                    host, "maintenance", part, {**who, "on": False, "reason": "restore failed"}
                )
            else:
                voice.note(f"{host}: maintenance stays on; `stackpin maintenance off` ends it")
            raise
        if not was_on:
            session.call(host, "maintenance", part, {**who, "on": False, "reason": "restored"})
    return {key: value for key, value in done.items() if key != "ok"}
