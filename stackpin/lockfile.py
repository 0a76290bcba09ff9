"""The lock file: which digest each image of a release had when its version was pinned.

A tag can be pushed again with other content; a digest names the content. Hosts run by digest only,
and the lock file, kept in Git beside the inventory, is where those digests are reviewed.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeGuard
from uuid import uuid4

import tomli_w

from stackpin.config.types import is_release_tag
from stackpin.errors import Refused

__all__ = [
    "KEPT",
    "Imaged",
    "Lock",
    "Locked",
    "key",
    "lock_path",
    "pinned",
    "read",
    "uses_images",
    "write",
]

KEPT = 10  # versions of a stack that stay locked, newest first: enough to go back to
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HEAD = """\
# Written by `stackpin pin` and `stackpin update`: the content each image had when it was pinned.
# Commit it. A digest here is what hosts run; do not edit it by hand.

"""


class Imaged(Protocol):
    """What the lock needs of a stack's settings; properties, as settings are immutable."""

    @property
    def prefix(self) -> str:
        """What its variables begin with, "xingrin_"; all parts of a stack share it."""

    @property
    def version(self) -> str:
        """The pinned release tag, "v1.2.0"."""

    @property
    def lock_file(self) -> str | None:
        """Path of the lock file, relative to the repository or absolute."""

    def images(self) -> dict[str, str]:
        """Every image by role: {"server": "registry/namespace/xingrin-server:v1.2.0"}."""

    def own_images(self) -> dict[str, str]:
        """Those of them that this part of the stack runs."""


def uses_images(settings: object) -> TypeGuard[Imaged]:
    """Tell whether what these settings of a part declare is run from images."""
    return bool(getattr(settings, "images", dict)())


def key(settings: Imaged) -> str:
    """Return the name under which images are locked: that of the whole stack, "xingrin"."""
    return settings.prefix.removesuffix("_")


@dataclass(frozen=True)
class Locked:
    """The images of one version: `images` maps "repo:tag" to "sha256:...", `locked` is UTC."""

    locked: str
    images: Mapping[str, str]


@dataclass(frozen=True)
class Lock:
    """The whole file: `stacks` maps a stack to its versions, `path` is where it was read from."""

    path: Path
    stacks: Mapping[str, Mapping[str, Locked]] = field(default_factory=dict)

    def version(self, stack: str, version: str) -> Locked | None:
        """Return what is locked for a version, None when nothing is."""
        return self.stacks.get(stack, {}).get(version)

    def digest(self, stack: str, version: str, ref: str) -> str:
        """Return the digest of `ref` ("repo:tag") in `version`. Raises Refused when not locked."""
        locked = self.version(stack, version)
        if locked is not None and ref in locked.images:
            return locked.images[ref]
        raise Refused(
            f"{self.path}: found no digest of {ref} under {stack} {version}, expected one for "
            f"every image. Run: stackpin pin INVENTORY {stack} --version {version}"
        )

    def with_version(self, stack: str, version: str, images: Mapping[str, str]) -> Lock:
        """Return a lock where `version` has exactly `images` {ref: digest}; this one stays.

        The last KEPT versions are kept, by the time they were locked; `version` always is. Locking
        the same images again changes nothing. Raises Refused for what is no tag or no digest.
        """
        _judge(version, images, self.path)
        before = self.version(stack, version)
        if before is not None and dict(before.images) == dict(images):
            return self
        versions = {**self.stacks.get(stack, {}), version: Locked(_now(), dict(images))}
        others = sorted(
            (name for name in versions if name != version),
            key=lambda name: (versions[name].locked, name),
        )
        kept = {version, *others[len(others) - (KEPT - 1) :]} if len(others) >= KEPT else versions
        chosen = {name: value for name, value in versions.items() if name in kept}
        return replace(self, stacks={**self.stacks, stack: chosen})

    def text(self) -> str:
        """Return the file's text; the same lock gives the same text."""
        document: dict[str, Any] = {"version": 1}
        for stack, versions in sorted(self.stacks.items()):
            document[stack] = {
                version: {"locked": one.locked, "images": dict(sorted(one.images.items()))}
                for version, one in sorted(versions.items())
            }
        return _HEAD + tomli_w.dumps(document)


def lock_path(settings: Imaged, root: Path, proposal: str = "inventories/NAME.lock.toml") -> Path:
    """Return where the lock file of `settings` is. Raises Refused with the line to add if unset.

    `root` is the repository, `proposal` the path that the message proposes.
    """
    if settings.lock_file is None:
        raise Refused(
            f"group data: {settings.prefix}lock_file: found nothing, expected the path of the lock "
            f'file with the digests of every image. Add: {settings.prefix}lock_file = "{proposal}"'
        )
    return root / settings.lock_file


def read(path: Path) -> Lock:
    """Read a lock file; one that does not exist is empty. Raises Refused for anything malformed."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Lock(path)
    except OSError as error:
        raise Refused(f"{path}: cannot be read: {error.strerror or error}") from None
    return parse(data, path)


def parse(data: bytes, path: Path) -> Lock:
    """Parse a lock file's bytes; `path` is named in messages. Raises Refused."""
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # TOML and UTF-8 errors alike
        raise _malformed(path, str(error)) from None
    if document.pop("version", None) != 1:
        raise _malformed(path, "no line version = 1")
    stacks: dict[str, dict[str, Locked]] = {}
    for stack, versions in document.items():
        if not isinstance(versions, dict):
            raise _malformed(path, f"{stack} that is no table")
        stacks[stack] = {name: _locked(path, stack, name, one) for name, one in versions.items()}
    return Lock(path, stacks)


def write(path: Path, lock: Lock) -> None:
    """Write the whole file at once: a reader sees the old or the new one. Raises Refused."""
    replace_bytes(path, lock.text().encode("utf-8"))


def replace_bytes(path: Path, data: bytes) -> None:
    """Replace a file of the repository atomically and durably, mode 0644. Raises Refused."""
    real = path.resolve()  # the file may be a symlink: replace what it points to
    staging = real.with_name(f".{real.name}.{uuid4().hex[:8]}")
    try:
        with staging.open("xb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        staging.replace(real)
    except OSError as error:
        raise Refused(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            staging.unlink(missing_ok=True)
    folder = os.open(real.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def pinned(settings: Imaged, root: Path) -> dict[str, str]:
    """Return every image of `settings` by role with its digest: "repo:tag@sha256:...".

    Raises Refused when the lock file is not declared or lacks one of them.
    """
    lock = read(lock_path(settings, root))
    return {
        role: f"{ref}@{lock.digest(key(settings), settings.version, ref)}"
        for role, ref in settings.images().items()
    }


def _locked(path: Path, stack: str, version: str, value: object) -> Locked:
    where = f'[{stack}."{version}"]'
    if not isinstance(value, dict) or set(value) != {"locked", "images"}:
        raise _malformed(path, f"{where} without exactly `locked` and `images`")
    locked, images = value["locked"], value["images"]
    if not isinstance(locked, str) or not isinstance(images, dict):
        raise _malformed(path, f"{where} whose `locked` is no text or `images` no table")
    _judge(version, images, path)
    return Locked(locked, images)


def _judge(version: str, images: Mapping[str, Any], path: Path) -> None:
    if not is_release_tag(version):
        raise _malformed(path, f"{version!r} that is no release tag vX.Y.Z")
    for ref, digest in images.items():
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise _malformed(path, f"{digest!r} as digest of {ref}")


def _malformed(path: Path, what: str) -> Refused:
    return Refused(
        f"{path}: found {what}, expected a lock file as `stackpin pin` writes it. Take the file "
        "back from Git, or remove it and run: stackpin pin INVENTORY STACK --version vX.Y.Z"
    )


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
