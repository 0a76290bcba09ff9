"""Which digests a version is locked to: asked of the registries before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from stackpin import lockfile
from stackpin.errors import Refused
from stackpin.lockfile import Lock
from stackpin.registry.client import Registry
from stackpin.registry.errors import RateLimited, RegistryUnreachable, TagMissing
from stackpin.registry.matrix import Registries, Sourced, ask_all, following
from stackpin.registry.reference import Reference, api_host, parse

__all__ = ["TagMoved", "locked"]

Say = Callable[[str], None]


class TagMoved(Refused):
    """A tag names other content than when it was pinned."""

    def __init__(
        self, lock: Lock, stack: str, version: str, moved: Mapping[str, tuple[str, str]]
    ) -> None:
        """Tell of `moved`: image -> (its locked digest, the registry's)."""
        self.moved = moved
        told = "\n".join(
            f"{lock.path}: {ref}: found {now} in the registry, expected {was} as locked for "
            f"{stack} {version}: the tag was pushed again with other content."
            for ref, (was, now) in moved.items()
        )
        super().__init__(
            f"{told}\nPublish the change under a new version. If the new content is wanted under "
            f'this tag, remove [{stack}."{version}"] from the lock file in a reviewed change.'
        )


def locked(
    settings: Sequence[Sourced],
    lock: Lock,
    root: Path,
    say: Say,
    *,
    pinned: str,
    refresh: bool = False,
) -> Lock:
    """Return `lock` with the digest of every image of `settings`, which are all of one version.

    Images whose tag follows the version are asked of the registry, and must be what the lock
    already says of that version, if it says anything. Base images (PostgreSQL, Redis) keep the
    digest they have under that version, or under the version `pinned` now: an update of the
    application does not change the database's program beside it; `refresh` locks them anew.
    When the version is the pinned one and completely locked, a registry that cannot be reached is
    only told. Raises Refused (TagMoved, TagMissing and the other registry errors).
    """
    stack, version = lockfile.key(settings[0]), _one(settings)
    follow = {ref: None for one in settings for ref in following(one).values()}
    refs = {ref: None for one in settings for ref in one.images().values()}
    have = _images(lock, stack, version)
    kept = {} if refresh else {**_images(lock, stack, pinned), **have}
    base = {parse(ref): kept[ref] for ref in refs if ref not in follow and ref in kept}

    def question(registry: Registry, image: Reference) -> tuple[str, str]:
        known = base.get(image)
        if known is not None:
            try:
                return registry.digest(image.repository, known), ""
            except TagMissing:
                say(f"{image}: {known} is gone from the registry: the tag is locked anew")
        found = registry.resolve(image.repository, image.tag or "latest")
        return found.digest, found.source if found.source != api_host(image.registry) else ""

    try:
        answers = ask_all(Registries(settings[0], root), refs, question)
    except (RegistryUnreachable, RateLimited) as problem:
        if version != pinned or not set(refs) <= set(have):
            raise
        say(f"not compared with the registry, the locked digests are used: {problem}")
        return lock
    for ref, (_, mirror) in answers.items():
        if mirror:
            say(f"{ref}: its registry could not be asked; the digest is what mirror {mirror} says")
    found = {ref: digest for ref, (digest, _) in answers.items()}
    moved = {
        ref: (have[ref], found[ref]) for ref in follow if have.get(ref, found[ref]) != found[ref]
    }
    if moved:
        raise TagMoved(lock, stack, version, moved)
    return lock.with_version(stack, version, found)


def lock_of(settings: Sequence[Sourced], root: Path, proposal: str) -> Lock:
    """Read the one lock file that all `settings` name. Raises Refused, also for several."""
    paths = {lockfile.lock_path(one, root, proposal): None for one in settings}
    if len(paths) > 1:
        told = ", ".join(str(path) for path in paths)
        raise Refused(
            f"{settings[0].prefix}lock_file: found {told}, expected one file for all hosts. Set it."
        )
    return lockfile.read(next(iter(paths)))


def _one(settings: Sequence[Sourced]) -> str:
    found = sorted({one.version for one in settings})
    if len(found) != 1:
        raise Refused(
            f"{settings[0].prefix}version: found {', '.join(found)}, expected one version for all "
            "hosts. Set it once, in the inventory's own group data."
        )
    return found[0]


def _images(lock: Lock, stack: str, version: str) -> Mapping[str, str]:
    found = lock.version(stack, version)
    return {} if found is None else found.images
