"""Applying deploy files to a batch of hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stackpin.engine.deploys import OpResult, execute, prepared
from stackpin.engine.session import Session

__all__ = ["Applied", "apply"]

FRESH = 10.0  # seconds that what a plan read of a host is taken for what is so


@dataclass(frozen=True)
class Applied:
    """What an apply did on one host: `changed` operation names, and `failure` (None: none)."""

    changed: tuple[str, ...]
    failure: str | None


def apply(
    session: Session,
    hosts: Sequence[str],
    part: str,
    files: Sequence[str],
    data: Mapping[str, Any],
    *,
    fail_percent: int = 0,
) -> dict[str, Applied]:
    """Bring `hosts` to what the deploy files of one stack part declare; return it per host.

    A release is only laid down, never switched to: that is the rollout's work. More than
    `fail_percent` of the hosts failing stops the others, whose failure then names them.
    """
    for host in hosts:
        # Between the plan and this may lie an approval and other hosts' changes: look again.
        session.gathering.memories[host].expire(FRESH)
    with prepared(session, hosts, {part: files}, data, fail_percent=fail_percent) as run:
        results = execute(run)
    failed = {result.host: result for result in reversed(results) if result.status == "failed"}
    outcome: dict[str, Applied] = {}
    for host in hosts:
        mine = [result for result in results if result.host == host]
        changed = tuple(result.name for result in mine if result.status == "changed")
        outcome[host] = Applied(changed, _failure(host, mine, failed, run.log.about(host)))
    return outcome


def _failure(
    host: str, mine: Sequence[OpResult], failed: Mapping[str, OpResult], log: Sequence[str]
) -> str | None:
    if host in failed:
        result = failed[host]
        lines = result.stderr or tuple(log[-10:])
        return "\n".join([f"operation {result.name!r} failed", *lines])
    if any(result.status == "not-run" for result in mine):
        others = ", ".join(sorted(failed)) or "another host"
        return f"stopped before its operations were done, because {others} failed"
    return None
