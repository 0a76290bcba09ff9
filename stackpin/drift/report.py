"""Join a plan and what the hosts say about themselves into one drift report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["VERSION", "DriftReport", "Finding", "HostDrift", "PendingOp", "Release", "build"]

VERSION = 1  # of the JSON


@dataclass(frozen=True)
class PendingOp:
    """An operation that would change the host: one `diff` line per line shown, without newline."""

    name: str
    summary: tuple[str, ...]
    diff: tuple[str, ...]


@dataclass(frozen=True)
class Finding:
    """Something the host itself reports as not being as it was left."""

    code: str
    message: str
    expected: str
    found: str


@dataclass(frozen=True)
class Release:
    """The release of one part of the stack: live `now`, and `wanted`; None is none."""

    now: str | None
    wanted: str | None


@dataclass(frozen=True)
class HostDrift:
    """One host: `error` is set when it could not be checked completely, then it is not in sync."""

    releases: Mapping[str, Release]
    pending: tuple[PendingOp, ...] = ()
    conditional: tuple[str, ...] = ()
    in_sync_ops: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    error: str | None = None

    @property
    def drifted(self) -> bool:
        """Whether something differs. Operations that only follow others do not count alone."""
        return bool(self.pending or self.findings)


@dataclass(frozen=True)
class DriftReport:
    """The drift of one stack on every host asked about; `created` is ISO 8601 UTC.

    `notes` tell what could not be compared and is no host's fault. `stackpin` is the version that
    compared. Of one shard only, `shard` says which, as "2/4", and `among` names the hosts that were
    split, in order.
    """

    inventory: str
    stack: str
    created: str
    hosts: Mapping[str, HostDrift]
    notes: tuple[str, ...] = ()
    stackpin: str = ""
    shard: str | None = None
    among: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 in sync, 2 drift, 1 when a host could not be checked: that outranks drift.

        No host at all is an error as well, as nothing was compared; but not for a shard, which may
        be left without one.
        """
        if not (self.hosts or self.shard) or any(host.error for host in self.hosts.values()):
            return 1
        return 2 if any(host.drifted for host in self.hosts.values()) else 0

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON values; `result` is in sync, drift or not checked."""
        words = {0: "in sync", 1: "not checked", 2: "drift"}
        return {
            "version": VERSION,
            "stackpin": self.stackpin,
            "inventory": self.inventory,
            "stack": self.stack,
            "created": self.created,
            "result": words[self.exit_code],
            "hosts": {name: _host_json(host) for name, host in self.hosts.items()},
            "notes": list(self.notes),
            **({"shard": self.shard, "among": list(self.among)} if self.shard else {}),
        }


def build(
    *,
    inventory: str,
    stack: str,
    created: str,
    plan: Mapping[str, Any],
    inspections: Mapping[str, Mapping[str, Any] | str],
    notes: tuple[str, ...] = (),
) -> DriftReport:
    """Make the report from a plan (its JSON) and each host's `inspect` answer, or error text.

    Every host named by either side appears. A host that one side could not check is in error, with
    what the other side did find kept beside it.
    """
    planned: Mapping[str, Any] = plan.get("hosts") or {}
    hosts = {
        name: _host(planned.get(name), inspections.get(name))
        for name in sorted({*planned, *inspections})
    }
    return DriftReport(inventory, stack, created, hosts, notes)


def _host(
    planned: Mapping[str, Any] | None, inspection: Mapping[str, Any] | str | None
) -> HostDrift:
    problems = []
    if planned is None:
        problems.append("the plan has nothing about this host")
    elif planned.get("error"):
        problems.append(str(planned["error"]))
    if inspection is None:
        problems.append("the host was not inspected")
    elif isinstance(inspection, str):
        problems.append(inspection)
    ops = list((planned or {}).get("ops") or [])
    found = [] if not isinstance(inspection, Mapping) else inspection.get("findings") or []
    return HostDrift(
        releases={
            str(part): Release(ids.get("now"), ids.get("wanted"))
            for part, ids in ((planned or {}).get("releases") or {}).items()
        },
        pending=tuple(_pending(op) for op in ops if op.get("verdict") == "change"),
        conditional=tuple(str(op["name"]) for op in ops if op.get("verdict") == "conditional"),
        in_sync_ops=tuple(str(op["name"]) for op in ops if op.get("verdict") == "no-change"),
        findings=tuple(_finding(item) for item in found),
        error="; ".join(dict.fromkeys(problems)) or None,
    )


def _pending(op: Mapping[str, Any]) -> PendingOp:
    changes = op.get("changes") or []
    return PendingOp(
        name=str(op["name"]),
        summary=tuple(_summary(change) for change in changes),
        diff=tuple(str(line).rstrip("\n") for change in changes for line in change.get("diff", ())),
    )


def _summary(change: Mapping[str, Any]) -> str:
    """Say one change in a line; the two sides of a secret are never shown."""
    what = f"{change.get('kind', 'change')} {change.get('subject', '')}".strip()
    if change.get("secret"):
        return f"{what}: differs (secret, not shown)"
    before, after = change.get("before"), change.get("after")
    if before is None and after is None:
        return what
    return f"{what}: {_side(before)} -> {_side(after)}"


def _side(value: object) -> str:
    return "absent" if value is None else str(value)


def _finding(item: Mapping[str, Any]) -> Finding:
    return Finding(
        code=str(item.get("code", "unknown")),
        message=str(item.get("message", "")),
        expected=str(item.get("expected", "")),
        found=str(item.get("found", "")),
    )


def _host_json(host: HostDrift) -> dict[str, Any]:
    return {
        "result": "not checked" if host.error else "drift" if host.drifted else "in sync",
        "error": host.error,
        "releases": {part: vars(release) for part, release in host.releases.items()},
        "pending": [
            {"name": op.name, "summary": list(op.summary), "diff": list(op.diff)}
            for op in host.pending
        ],
        "conditional": list(host.conditional),
        "in_sync": len(host.in_sync_ops),
        "in_sync_ops": list(host.in_sync_ops),
        "findings": [vars(finding) for finding in host.findings],
    }
