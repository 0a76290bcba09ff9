"""Change how deployed services run: host after host, part after part, each under its lease."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from stackpin.care.fleet import Voice, change
from stackpin.care.parts import service_name, services_on
from stackpin.engine.remote import RemoteError
from stackpin.engine.session import Session
from stackpin.rollout.model import whoami

__all__ = ["service"]

# A restart of overlapping slots passes the whole gate, and draining comes on top.
SERVICE_TIMEOUT = 900.0


def service(
    session: Session,
    stack: str,
    action: str,
    reason: str,
    voice: Voice,
    *,
    name: str | None = None,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Start, stop or restart the services of `stack`, or the one called `name`, host after host.

    Of several on one host the first of the rollout order comes first, and last when they stop.
    Returns the answers by host and part. The first failure ends it, so that a bad restart does not
    take the whole fleet down; its error says which are done.
    """
    places = {host: services_on(session, stack, host, name) for host in session.hosts}
    done: dict[str, dict[str, dict[str, Any]]] = {host: {} for host in places}
    with ExitStack() as held:
        for part in dict.fromkeys(part for parts in places.values() for part in parts):
            having = [host for host, parts in places.items() if part in parts]
            held.enter_context(change(session, part, reason or action, having))
        todo = [
            (host, part)
            for host, parts in places.items()
            for part in (reversed(parts) if action == "stop" else parts)
        ]
        several = len(todo) > len(places)
        for at, (host, part) in enumerate(todo):
            try:
                done[host][part] = session.call(
                    host,
                    "service",
                    part,
                    {"action": action, "reason": reason, "who": whoami()},
                    timeout=SERVICE_TIMEOUT,
                    on_line=lambda text, host=host: voice.note(f"{host}: {text}"),  # type: ignore[misc]
                )
            except RemoteError as error:
                names = [f"{h} {service_name(stack, p)}" if several else h for h, p in todo]
                error.detail["done"] = names[:at]
                if len(todo) > 1:
                    rest = ", ".join(names[at + 1 :])
                    voice.note(f"done: {', '.join(names[:at]) or 'none'}; untouched: {rest}")
                raise
            voice.line(f"{host}: {part} {_past(action)}{_gap(done[host][part])}")
    return done


def _past(action: str) -> str:
    return {"start": "started", "stop": "stopped", "restart": "restarted"}[action]


def _gap(answer: dict[str, Any]) -> str:
    gap = answer.get("gap")
    return "" if gap is None else f" (no answer for {float(gap):.1f} s)"
