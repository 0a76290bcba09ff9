"""Tags that name other content by now than when they were pinned: a finding on every node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from stackpin import lockfile
from stackpin.errors import Refused
from stackpin.registry.errors import TagMissing
from stackpin.registry.matrix import Registries, Sourced, following, gather

__all__ = ["Moved", "moved_tags"]

CODE = "tag-moved"


@dataclass(frozen=True)
class Moved:
    """Findings by host, as a host's own `inspect` gives them, and notes: what was not compared."""

    findings: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def moved_tags(settings: Mapping[str, Mapping[str, object]], root: Path) -> Moved:
    """Compare the registry's digest of every pinned tag with the lock file.

    `settings` are by host and part; parts without images are left out, and so are base images,
    whose tags move as a matter of course: hosts run the locked digest. A registry that cannot be
    asked is a note: it says nothing about the hosts.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    notes: dict[str, None] = {}
    asked: dict[str, str | Refused] = {}
    for host, parts in settings.items():
        for part in parts.values():
            if not lockfile.uses_images(part):
                continue
            one = cast(Sourced, part)
            wanted = _locked(one, root, notes)
            _ask(one, [ref for ref in wanted if ref not in asked], root, asked)
            for ref, digest in wanted.items():
                finding = _finding(ref, digest, asked[ref], one.version, notes)
                if finding is not None and finding not in found.setdefault(host, []):
                    found[host].append(finding)
    return Moved({host: own for host, own in found.items() if own}, tuple(notes))


def _locked(settings: Sourced, root: Path, notes: dict[str, None]) -> dict[str, str]:
    """Return {ref: locked digest} of the images this host runs whose tag follows the version."""
    own = settings.own_images()
    refs = set(own.values()) & set(following(settings).values())
    try:
        lock = lockfile.read(lockfile.lock_path(settings, root))
        return {
            ref: lock.digest(lockfile.key(settings), settings.version, ref) for ref in sorted(refs)
        }
    except Refused as error:
        notes[str(error)] = None
        return {}


def _ask(settings: Sourced, refs: list[str], root: Path, asked: dict[str, str | Refused]) -> None:
    try:
        answers, problems = gather(
            Registries(settings, root),
            refs,
            lambda registry, ref: registry.digest(ref.repository, ref.tag or "latest"),
        )
    except Refused as error:  # a secret or a CA file that cannot be used
        asked.update(dict.fromkeys(refs, error))
        return
    asked.update(answers)
    asked.update(problems)


def _finding(
    ref: str, locked: str, answer: str | Refused, version: str, notes: dict[str, None]
) -> dict[str, Any] | None:
    if isinstance(answer, TagMissing):
        message = f"{ref}: the tag is gone from the registry"
        return _said(message, locked, "no such tag")
    if isinstance(answer, Refused):
        notes[f"tags were not compared with the registry: {answer}"] = None
        return None
    if answer == locked:
        return None
    message = (
        f"{ref}: the tag was pushed again with other content; hosts keep what is locked for "
        f"{version}, but whatever pulls by tag alone gets the other"
    )
    return _said(message, locked, answer)


def _said(message: str, expected: str, found: str) -> dict[str, Any]:
    return {"code": CODE, "message": message, "expected": expected, "found": found}
