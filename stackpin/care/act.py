"""Change how a deployed service runs: host after host, each under the lease."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from stackpin.care.fleet import Voice, change, service_on
from stackpin.engine.remote import RemoteError
from stackpin.engine.session import Session
from stackpin.rollout.model import whoami

__all__ = ["service"]

# A restart of overlapping slots passes the whole gate, and draining comes on top.
SERVICE_TIMEOUT = 900.0


def service(
    session: Session, stack: str, action: str, reason: str, voice: Voice
) -> dict[str, dict[str, Any]]:
    """Start, stop or restart the service of `stack` on one host after the other; return answers.

    The first failure ends it, so that a bad restart does not take the whole fleet down; its error
    says which hosts are done.
    """
    done: dict[str, dict[str, Any]] = {}
    parts = {host: service_on(session, stack, host) for host in session.hosts}
    with ExitStack() as held:
        for part in dict.fromkeys(parts.values()):
            having = [host for host in parts if parts[host] == part]
            held.enter_context(change(session, part, reason or action, having))
        for host, part in parts.items():
            try:
                done[host] = session.call(
                    host,
                    "service",
                    part,
                    {"action": action, "reason": reason, "who": whoami()},
                    timeout=SERVICE_TIMEOUT,
                    on_line=lambda text, host=host: voice.note(f"{host}: {text}"),  # type: ignore[misc]
                )
            except RemoteError as error:
                error.detail["done"] = list(done)
                if len(session.hosts) > 1:
                    rest = [name for name in session.hosts if name not in {*done, host}]
                    voice.note(f"done: {', '.join(done) or 'none'}; untouched: {', '.join(rest)}")
                raise
            voice.line(f"{host}: {part} {_past(action)}{_gap(done[host])}")
    return done


def _past(action: str) -> str:
    return {"start": "started", "stop": "stopped", "restart": "restarted"}[action]


def _gap(answer: dict[str, Any]) -> str:
    gap = answer.get("gap")
    return "" if gap is None else f" (no answer for {float(gap):.1f} s)"
