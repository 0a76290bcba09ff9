"""See and end the leases on a stack."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from stackpin.care.fleet import Answers, ask
from stackpin.engine.session import Session
from stackpin.rollout.model import whoami

__all__ = ["describe", "held", "shown", "steal"]

# Long enough to release it ourselves right after; short, should we be cut off in between.
STEAL_TTL = 10.0


def shown(session: Session, stack: str) -> Answers:
    """Ask who holds the lease of every part on every host."""
    return ask(session, stack, "lock-show")


def held(answers: Answers) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Return the leases that are held, by (host, part)."""
    return {key: answer["lock"] for key, answer in answers.values.items() if answer.get("lock")}


def describe(lease: Mapping[str, Any] | None) -> str:
    """Say a lease in one line."""
    if not lease:
        return "free"
    reason = f" ({lease['reason']})" if lease.get("reason") else ""
    age, left = float(lease.get("age") or 0), float(lease.get("left") or 0)
    return (
        f"held by {lease.get('owner')}{reason} for {age:.0f} s, ends in {left:.0f} s unless renewed"
    )


def steal(
    session: Session, leases: Mapping[tuple[str, str], Mapping[str, Any]], reason: str
) -> Answers:
    """End `leases`: take each over, which the host journals, and give it back at once."""
    token = secrets.token_hex(16)
    answers = Answers()
    payload = {"owner": whoami(), "reason": reason, "ttl": STEAL_TTL, "token": token}
    for host, part in leases:
        try:
            answers.values[host, part] = session.call(host, "lock-steal", part, payload)
            session.call(host, "lock-release", part, {"token": token})
        except Exception as error:
            answers.errors[host, part] = error
    return answers
