"""A plan: what a deploy would change, per host, as a value that can be read, saved and compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from operations import notes
from stackpin.engine.deploys import prepared
from stackpin.engine.session import Session
from stackpin.errors import Refused
from stackpin.redact import redact

__all__ = ["HostPlan", "Plan", "PlannedOp", "load_plan", "make_plan"]

VERSION = 1
LEASE_DIR = "/var/lib/stackpin"


@dataclass(frozen=True)
class PlannedOp:
    """One operation: its stack `part`, `name`, `verdict` (change, no-change, conditional), changes.

    `changes` are operations.notes.Change as dicts: kind, subject, before, after, diff, secret.
    """

    part: str
    name: str
    verdict: str
    changes: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class HostPlan:
    """One host: `releases` maps a part to {"now", "wanted"} release ids (None: none), `ops`."""

    releases: dict[str, dict[str, str | None]] = field(default_factory=dict)
    ops: tuple[PlannedOp, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What one deploy of `stack` with `inventory` would change; `hosts` by name, in order."""

    inventory: str
    stack: str
    created: str
    hosts: dict[str, HostPlan]

    @property
    def digest(self) -> str:
        """Sha256 over everything but the time: equal plans have equal digests."""
        return _digest(self._content())

    def changes(self, host: str, part: str | None = None) -> list[PlannedOp]:
        """Return the operations that would, or might, change `host` (of one stack part)."""
        return [
            op
            for op in self.hosts[host].ops
            if op.verdict != "no-change" and part in {None, op.part}
        ]

    @property
    def in_sync(self) -> bool:
        """True when no host would change."""
        return not any(self.changes(host) for host in self.hosts)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as the JSON document of `plan --out`; all texts redacted."""
        return {
            "version": VERSION,
            **self._content(),
            "created": self.created,
            "digest": self.digest,
        }

    def _content(self) -> dict[str, Any]:
        # Through JSON once: a tuple and a list must not make two different plans.
        hosts = {name: asdict(host) for name, host in self.hosts.items()}
        content = {"inventory": self.inventory, "stack": self.stack, "hosts": hosts}
        return json.loads(json.dumps(content))  # type: ignore[no-any-return]

    def differences(self, other: Mapping[str, Any]) -> Iterator[str]:
        """Say in lines how this plan differs from `other`, a document of `to_json`."""
        mine, theirs = _comparable(self._content()), _comparable(other)
        for key in ("inventory", "stack"):
            if mine[key] != theirs.get(key):
                yield f"{key}: the plan file is for {theirs.get(key)!r}, this is {mine[key]!r}"
        reviewed: Mapping[str, Any] = theirs.get("hosts", {})
        for host in sorted(set(mine["hosts"]) | set(reviewed)):
            if host not in reviewed:
                yield f"{host}: not in the plan file"
            elif host not in mine["hosts"]:
                yield f"{host}: in the plan file, but not in this run"
            else:
                yield from _host_differences(host, mine["hosts"][host], reviewed[host])


def make_plan(
    session: Session,
    stack: str,
    files: Mapping[str, Sequence[str]],
    data: Mapping[str, Any],
    places: Mapping[str, Sequence[str]] | None = None,
) -> Plan:
    """Prepare the deploy files on all hosts of `session` and return what they would change.

    `files` maps each part of `stack` to its deploy files, `places` each host to the parts it has
    (None: all); `data` overrides variables. Nothing on a host changes. Raises Refused when a file
    or fact fails.
    """
    hosts: dict[str, HostPlan] = {}
    places = places or dict.fromkeys(session.hosts, tuple(files))
    with prepared(session, session.hosts, files, data, places=places) as run:
        noted = notes.collect()
        results = list(run.results())

    def ask(host: str) -> dict[str, dict[str, Any]]:
        return {part: session.call(host, "state", part) for part in files if part in places[host]}

    states = session.map(ask).all()
    for host in session.hosts:
        ops = tuple(
            PlannedOp(
                result.part,
                redact(result.name),
                result.status,
                tuple(_change(change) for change in noted.get((host, result.op_hash), []))
                if result.status != "no-change"
                else (),
            )
            for result in results
            if result.host == host
        )
        releases = {part: _releases(part, state, ops) for part, state in states[host].items()}
        hosts[host] = HostPlan(releases, ops)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Plan(Path(session.inventory).stem, stack, now, hosts)


def load_plan(path: Path) -> dict[str, Any]:
    """Read a plan file; refuse anything that is not one of ours, or that was edited."""
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Refused(
            f"{path}: not a readable plan ({error}); make one with `plan --out`"
        ) from None
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise Refused(f"{path}: not a plan of version {VERSION}; make one with `plan --out`")
    content = {key: document.get(key) for key in ("inventory", "stack", "hosts")}
    if _digest(content) != document.get("digest"):
        raise Refused(
            f"{path}: its content is not what its digest was made of, so it was edited or cut; "
            "make a new one with `plan --out`"
        )
    return document


def _comparable(content: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the folders that taking the lock makes on a bare host, between plan and deploy."""
    hosts = json.loads(json.dumps(content.get("hosts") or {}))
    for host in hosts.values():
        for op in host["ops"]:
            lease = {LEASE_DIR, f"{LEASE_DIR}/{op['part']}"}
            op["changes"] = [
                change
                for change in op["changes"]
                if change["kind"] != "directory" or change["subject"] not in lease
            ]
    return {**content, "hosts": hosts}


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(
        _comparable(content), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    return hashlib.sha256(text.encode()).hexdigest()


def _change(change: notes.Change) -> dict[str, Any]:
    values = asdict(change)
    values["diff"] = [redact(line) for line in change.diff]
    for key in ("subject", "before", "after"):
        values[key] = redact(values[key]) if values[key] is not None else None
    return values


def _releases(
    part: str, state: Mapping[str, Any], ops: Sequence[PlannedOp]
) -> dict[str, str | None]:
    now = state.get("live_release")
    wanted = now
    for op in ops:
        for change in op.changes:
            if op.part == part and change["kind"] == "release":
                wanted = change["after"]
    return {"now": now, "wanted": wanted}


def _host_differences(
    host: str, mine: Mapping[str, Any], theirs: Mapping[str, Any]
) -> Iterator[str]:
    if mine["releases"] != theirs.get("releases"):
        yield f"{host}: reviewed releases {theirs.get('releases')}, now {mine['releases']}"
    now = {(op["part"], op["name"]): op for op in mine["ops"]}
    then = {(op["part"], op["name"]): op for op in theirs.get("ops", [])}
    for key in [*now, *(key for key in then if key not in now)]:
        if now.get(key) != then.get(key):
            was = then[key]["verdict"] if key in then else "absent"
            is_ = now[key]["verdict"] if key in now else "absent"
            detail = "its changes differ" if was == is_ else f"reviewed {was}, now {is_}"
            yield f"{host}: {key[1]}: {detail}"
