"""Turn what a run learned on its hosts into the documents of an evidence record."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from stackpin.evidence.record import Record

__all__ = ["Artifact", "HostEvidence", "collect", "describe_artifact", "git_head"]


@dataclass(frozen=True)
class Artifact:
    """The file a release was made from: `path` as configured, `size` in bytes.

    `origin`: JSON of where it came from (kind, commit, ref, build, outputs, ...).
    """

    path: str
    sha256: str
    size: int
    origin: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class HostEvidence:
    """What one host answered during a run; each field is the host program's JSON, or None.

    `inspect`: the `inspect` answer; `checks`: the GateResult of the live slot and the host;
    `public`: the GateResult of the checks made from outside; `timings`: [{"stage", "seconds"}].
    """

    release: str | None
    outcome: str
    inspect: Mapping[str, Any] | None = None
    checks: Mapping[str, Any] | None = None
    public: Mapping[str, Any] | None = None
    timings: Sequence[Mapping[str, Any]] = field(default_factory=tuple)


def collect(
    *,
    inventory: str,
    stack: str,
    version: str,
    run: str,
    who: str,
    command: str,
    outcome: str,
    exit_code: int,
    started: datetime,
    finished: datetime,
    hosts: Mapping[str, HostEvidence],
    artifact: Artifact | None = None,
    images: Mapping[str, str] | None = None,
    plan: Mapping[str, Any] | None = None,
    rollback: Mapping[str, Any] | None = None,
    reason: str = "",
    head: str | None = None,
    more: Mapping[str, Any] | None = None,
) -> Record:
    """Return the record of one run; pure. `started` and `finished` are aware datetimes.

    `images` maps a role to "repo:tag@sha256:..." where a release is made of images, not a file.
    `rollback` tells what the run took back, in all its parts; `more` are further documents by file
    name.

    A document a host has nothing for says null for that host rather than leaving it out: an
    absent answer must be seen as absent.
    """
    documents: dict[str, Any] = {
        **(more or {}),
        "01-artifact.json": {
            "artifact": vars(artifact) if artifact else None,
            "version": version,
            "git_head": head,
            "releases": {name: host.release for name, host in hosts.items()},
        },
        "02-remote-inspect.json": {name: host.inspect for name, host in hosts.items()},
        "03-api-checks.json": {name: host.checks for name, host in hosts.items()},
        "04-portal-checks.json": {name: host.public for name, host in hosts.items()},
        "05-timings.json": {
            "started": started.isoformat(timespec="milliseconds"),
            "finished": finished.isoformat(timespec="milliseconds"),
            "seconds": round((finished - started).total_seconds(), 3),
            "hosts": {name: list(host.timings) for name, host in hosts.items()},
        },
    }
    if images is not None:
        documents["01-artifact.json"]["images"] = dict(images)
    if plan is not None:
        documents["plan.json"] = plan
    if rollback is not None:
        documents["rollback.json"] = rollback
    return Record(
        inventory=inventory,
        stack=stack,
        version=version,
        run=run,
        outcome=outcome,
        who=who,
        created=finished,
        git_head=head,
        command=command,
        exit_code=exit_code,
        reason=reason,
        hosts={
            name: {"release": host.release, "outcome": host.outcome} for name, host in hosts.items()
        },
        documents=documents,
    )


def describe_artifact(path: Path, shown_as: str | None = None) -> Artifact:
    """Measure the artifact at `path`; OSError when it cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
        size = stream.tell()
    return Artifact(path=shown_as or str(path), sha256=digest.hexdigest(), size=size)


def git_head(folder: Path) -> str | None:
    """Return the commit checked out at `folder`, with ``-dirty`` after it when files differ.

    None where there is no Git tree, no commit yet or no git: evidence is written all the same.
    """
    try:
        commit = _git(folder, "rev-parse", "--verify", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}-dirty" if changed else commit


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    return done.stdout.strip()
