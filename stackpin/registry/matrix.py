"""Questions to registries about every image of a stack's settings, all put at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from stackpin import secrets
from stackpin.config.types import SecretRef, compare_tags, is_prerelease, is_release_tag
from stackpin.errors import Refused
from stackpin.lockfile import Imaged
from stackpin.registry import reference
from stackpin.registry.client import DEADLINE, Registry
from stackpin.registry.errors import RegistryProblem, RegistryUnreachable, TagMissing
from stackpin.registry.reference import DOCKER_HUB, Reference

__all__ = ["Registries", "Sourced", "ask_all", "available", "following", "newest"]

T = TypeVar("T")
_OTHER = "v0.0.0-other"


class Sourced(Imaged, Protocol):
    """Settings that say where images come from."""

    @property
    def registry(self) -> str:
        """The registry of the stack's own images, "10.0.0.5:5000" or "docker.io"."""

    @property
    def registry_username(self) -> str | None:
        """Who logs in there."""

    @property
    def registry_password(self) -> SecretRef | None:
        """Where the password is."""

    @property
    def registry_ca(self) -> str | None:
        """A PEM file to trust beside the system's authorities."""

    @property
    def registry_mirrors(self) -> Sequence[str]:
        """URLs of mirrors of Docker Hub."""

    def model_copy(self, *, update: Mapping[str, Any]) -> Any:  # noqa: ANN401 - pydantic's own
        """Return the settings with other values."""


class Registries:
    """The registries that one stack's images are in; passwords are looked up when first needed."""

    def __init__(self, settings: Sourced, root: Path) -> None:
        self._settings, self._root = settings, root
        self._known: dict[str, Registry] = {}

    def of(self, ref: Reference) -> Registry:
        """Return the registry of an image. Raises Refused for a secret or CA that is unusable.

        The user and password are for the stack's own registry only. As with Docker itself, mirrors
        serve Docker Hub's images only: hosts could not pull others from them.
        """
        if ref.registry not in self._known:
            own = self._settings
            user, password = None, None
            if ref.registry == own.registry and own.registry_password is not None:
                user, password = own.registry_username, _password(own, own.registry_password)
            self._known[ref.registry] = Registry(
                ref.registry,
                user,
                password,
                ca=None if own.registry_ca is None else str(self._root / own.registry_ca),
                mirrors=tuple(own.registry_mirrors) if ref.registry == DOCKER_HUB else (),
            )
        return self._known[ref.registry]


def ask_all(
    registries: Registries,
    refs: Iterable[str],
    question: Callable[[Registry, Reference], T],
    *,
    within: float = 2 * DEADLINE,
) -> dict[str, T]:
    """Put `question` about every reference at once; {ref: answer}, in the order of `refs`.

    Raises one Refused that tells every problem; it is of the first one's kind. What has not
    ended `within` seconds counts as unreachable.
    """
    answers, problems = gather(registries, refs, question, within=within)
    if problems:
        raise merged(list(problems.values()))
    return answers


def gather(
    registries: Registries,
    refs: Iterable[str],
    question: Callable[[Registry, Reference], T],
    *,
    within: float = 2 * DEADLINE,
) -> tuple[dict[str, T], dict[str, Refused]]:
    """Do the same and return ({ref: answer}, {ref: problem})."""
    names = list(dict.fromkeys(refs))
    parsed = {ref: reference.parse(ref) for ref in names}
    clients = {ref: registries.of(one) for ref, one in parsed.items()}
    answers: dict[str, T] = {}
    problems: dict[str, Refused] = {}
    broken: list[BaseException] = []

    def one(ref: str) -> None:
        try:
            answers[ref] = question(clients[ref], parsed[ref])
        except Refused as error:
            problems[ref] = error
        except BaseException as error:
            broken.append(error)

    # Daemon threads: one that hangs on a registry which drips its answer must not keep the command.
    threads = [threading.Thread(target=one, args=(ref,), daemon=True) for ref in names]
    until = time.monotonic() + within
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    if broken:
        raise broken[0]
    done, failed = dict(answers), dict(problems)
    for ref in names:
        if ref not in done and ref not in failed:
            failed[ref] = RegistryUnreachable(
                parsed[ref].registry, ref, f"no end of its answer after {within:.0f} s"
            )
    return {r: done[r] for r in names if r in done}, {r: failed[r] for r in names if r in failed}


def merged(problems: Sequence[Refused]) -> Refused:
    """Return one error that tells all `problems`, of the first one's kind.

    What a registry refuses for several images in the same way is said once, with their names.
    """
    alike: dict[tuple[type[Refused], str], list[Refused]] = {}
    for problem in problems:
        where = problem.registry if isinstance(problem, RegistryProblem) else str(problem)
        alike.setdefault((type(problem), where), []).append(problem)
    first = problems[0]
    first.args = ("\n".join(_once(group) for group in alike.values()),)
    return first


def _once(group: Sequence[Refused]) -> str:
    own = [problem for problem in group if isinstance(problem, RegistryProblem)]
    if not own:
        return str(group[0])
    images = ", ".join(dict.fromkeys(problem.image for problem in own))
    found = "; ".join(dict.fromkeys(problem.found for problem in own))
    return str(type(own[0])(own[0].registry, images, found, own[0].told))


def following(settings: Sourced) -> dict[str, str]:
    """Return the images by role whose tag follows the stack's version: not the base images."""
    other = settings.model_copy(update={"version": _OTHER}).images()
    return {role: ref for role, ref in settings.images().items() if other.get(role) != ref}


def available(settings: Sourced, root: Path) -> list[str]:
    """Return the versions that every following image has, newest first, pre-releases among them.

    Raises Refused, also (TagMissing) when one of the images does not exist at all.
    """
    own = following(settings)
    registries = Registries(settings, root)
    listed = ask_all(registries, own.values(), lambda registry, ref: registry.tags(ref.repository))
    common: set[str] | None = None
    for ref, tags in listed.items():
        suffix = (reference.parse(ref).tag or "").removeprefix(settings.version)
        versions = {tag.removesuffix(suffix) for tag in tags if tag.endswith(suffix) or not suffix}
        good = {version for version in versions if is_release_tag(version)}
        common = good if common is None else common & good
    return sorted(common or (), key=_Order, reverse=True)


def newest(settings: Sourced, root: Path) -> str:
    """Return the newest version, no pre-release, that every image has. Raises Refused."""
    finals = [version for version in available(settings, root) if not is_prerelease(version)]
    if not finals:
        images = ", ".join(reference.parse(ref).name for ref in following(settings).values())
        raise TagMissing(settings.registry, images, "no release vX.Y.Z that all of them have")
    return finals[0]


class _Order:
    """Sorts release tags by version; of equal ones nothing is said."""

    def __init__(self, tag: str) -> None:
        self.tag = tag

    def __lt__(self, other: _Order) -> bool:
        return compare_tags(self.tag, other.tag) < 0


def _password(settings: Sourced, ref: SecretRef) -> str:
    try:
        return secrets.resolve(ref).get_secret_value()
    except secrets.SecretError as error:
        raise Refused(f"{settings.prefix}registry_password: {ref}: {error}") from None
