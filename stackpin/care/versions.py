"""Which version of a stack is pinned, locked, running per host, and the newest there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from stackpin import lockfile
from stackpin.care.fleet import Answers
from stackpin.config.stacks import STACKS, Stack
from stackpin.config.stacks import stack as stack_named
from stackpin.config.types import compare_tags, is_prerelease, is_release_tag
from stackpin.errors import Refused
from stackpin.pins import Pin
from stackpin.registry.matrix import Registries, Sourced, ask_all, available, following
from stackpin.registry.reference import parse
from stackpin.rollout.newest import file_versions

__all__ = ["Report", "Running", "known", "pinned_stacks", "running"]

_DAY = 86400


@dataclass(frozen=True)
class Running:
    """What one host runs of one part: `locked` tells whether its digest is the locked one."""

    host: str
    stack: str
    release: str = ""
    version: str = ""
    digest: str = ""
    locked: bool | None = None
    error: str = ""


@dataclass
class Report:
    """Everything about one stack's version. `available` are final releases, newest first.

    `built` maps the pinned and the newest version to when they were made (ISO 8601).
    """

    stack: str
    pin: Pin
    locked: lockfile.Locked | None = None
    available: list[str] = field(default_factory=list)
    built: dict[str, str] = field(default_factory=dict)
    hosts: list[Running] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def newest(self) -> str | None:
        """The newest final release, None when it is not known."""
        return self.available[0] if self.available else None

    @property
    def behind(self) -> int | None:
        """How many final releases are newer than the pin."""
        if not self.available or not is_release_tag(self.pin.value):
            return None
        return sum(compare_tags(one, self.pin.value) > 0 for one in self.available)

    def age(self, now: datetime) -> int | None:
        """Return how many days ago the pinned version was made, None when nobody says."""
        try:
            made = datetime.fromisoformat(self.built[self.pin.value])
        except (KeyError, ValueError):
            return None
        made = made if made.tzinfo else made.replace(tzinfo=UTC)
        return int((now - made).total_seconds() // _DAY)

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "stack": self.stack,
            "file": str(self.pin.path),
            "pinned": self.pin.value,
            "locked": None if self.locked is None else asdict(self.locked),
            "newest": self.newest,
            "behind": self.behind,
            "available": self.available,
            "built": self.built,
            "age_days": self.age(datetime.now(UTC)),
            "hosts": [asdict(one) for one in self.hosts],
            "notes": self.notes,
        }


def pinned_stacks(named: str | None, variables: Sequence[Mapping[str, Any]]) -> list[Stack]:
    """Return the stack called `named`, else every one whose pin the hosts' `variables` set.

    Of stacks which share a pin the whole one is meant, not its parts. Raises Refused.
    """
    if named is not None:
        chosen = stack_named(named)
        if chosen.version_variable is None:
            raise Refused(f"stack {named}: pins no version; expected one of {_pinning()}")
        return [chosen]
    found: dict[str, Stack] = {}
    for one in STACKS.values():
        variable = one.version_variable
        if variable is not None and any(variable in values for values in variables):
            found.setdefault(variable, one)
    if not found:
        raise Refused(f"found no pinned version in this inventory; expected one of {_pinning()}")
    return list(found.values())


def known(stack: Stack, pin: Pin, settings: Sequence[object], root: Path) -> Report:
    """Report what repository and registry say; what cannot be asked is a note.

    `settings` are those of all hosts and parts.
    """
    report = Report(stack.name, pin)
    for one in settings:
        if lockfile.uses_images(one):
            _of_images(report, cast(Sourced, one), root)
            break
        if hasattr(one, "artifact"):
            report.available = file_versions(cast(Any, one).artifact, root)
            break
    return report


def running(answers: Answers, report: Report) -> list[Running]:
    """Read every host's `state` answer; hosts that did not answer have an `error`."""
    digests = set(report.locked.images.values()) if report.locked else set()
    found = []
    for (host, part), state in answers.values.items():
        release = str(state.get("live_release") or "")
        versions = {one.get("id"): one.get("version") for one in state.get("releases") or []}
        slot = (state.get("slots") or {}).get(state.get("live_slot")) or {}
        digest = str(slot.get("digest") or "")
        found.append(
            Running(
                host,
                part,
                release or ("none" if state.get("installed") else "not installed"),
                str(versions.get(release) or release.rpartition("-")[0]),
                digest,
                digest in digests if digest and digests else None,
            )
        )
    found += [Running(host, part, error=str(e)) for (host, part), e in answers.errors.items()]
    return found


def _of_images(report: Report, settings: Sourced, root: Path) -> None:
    try:
        lock = lockfile.read(lockfile.lock_path(settings, root))
        report.locked = lock.version(lockfile.key(settings), report.pin.value)
        if report.locked is None:
            report.notes.append(f"{lock.path}: {report.pin.value} is not locked")
    except Refused as error:
        report.notes.append(str(error))
    try:
        versions = available(settings, root)
        report.available = [one for one in versions if not is_prerelease(one)]
        # One image speaks for all: they are built together.
        ref = next(iter(following(settings).values()))
        tag = parse(ref).tag or ""
        wanted = [one for one in {settings.version, *report.available[:1]} if one in versions]
        refs = {one: ref.removesuffix(tag) + tag.replace(settings.version, one) for one in wanted}
        images = ask_all(
            Registries(settings, root),
            refs.values(),
            lambda registry, one: registry.resolve(one.repository, one.tag or ""),
        )
        report.built = {one: images[ref].created for one, ref in refs.items()}
    except Refused as error:
        report.notes.append(f"the registry was not asked: {error}")


def _pinning() -> str:
    return ", ".join(one.name for one in STACKS.values() if one.version_variable)
