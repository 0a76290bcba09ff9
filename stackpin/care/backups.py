"""Take, list and verify the backups of a stack's parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stackpin.care.fleet import Answers, Voice, ask
from stackpin.care.parts import keepers
from stackpin.engine.session import Session
from stackpin.rollout.model import whoami

__all__ = ["create", "listed", "rows", "short", "verified"]

# restic reads everything for a check; a large repository on slow storage takes its time.
BACKUP_TIMEOUT = 3600.0
LIST_TIMEOUT = 120.0


def create(session: Session, stack: str, reason: str, voice: Voice) -> Answers:
    """Take a backup of every part on every host at once."""
    payload = {"reason": reason, "who": whoami()}
    return _ask(session, stack, "backup", payload, BACKUP_TIMEOUT, voice=voice)


def listed(session: Session, stack: str) -> Answers:
    """Ask which backups there are."""
    return ask(session, stack, "backup-list", timeout=LIST_TIMEOUT, only=keepers(stack))


def verified(session: Session, stack: str, snapshot: str | None, voice: Voice) -> Answers:
    """Prove the backup `snapshot`, or the latest, of every part on every host."""
    payload = {"id": snapshot} if snapshot else {}
    return _ask(session, stack, "backup-verify", payload, BACKUP_TIMEOUT, voice=voice)


def rows(answer: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield id, time, release and reason of each backup in a `backup-list` answer."""
    for entry in answer.get("backups") or []:
        time = str(entry.get("time") or "").partition(".")[0].replace("T", " ")
        yield [short(entry), time, str(entry.get("release") or ""), str(entry.get("reason") or "")]


def short(answer: Mapping[str, Any]) -> str:
    """Return the short id of a backup in an answer."""
    return str(answer.get("id") or "")[:8]


def _ask(
    session: Session,
    stack: str,
    command: str,
    payload: Mapping[str, Any],
    timeout: float,
    *,
    voice: Voice,
) -> Answers:
    return ask(
        session,
        stack,
        command,
        payload,
        timeout=timeout,
        on_line=lambda host, text: voice.note(f"{host}: {text}"),
        only=keepers(stack),
    )
