"""What one part of a stack ships: a file or a directory out of the pinned artifact."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from stackpin.artifacts.files import listing_sha256
from stackpin.artifacts.model import Output, Resolved, Say, quiet
from stackpin.artifacts.resolving import resolve
from stackpin.config.sources import Source
from stackpin.errors import Refused

__all__ = ["Artifact", "Pinned"]


class Pinned(Protocol):
    """Settings that pin an artifact, such as CrmSettings."""

    @property
    def version(self) -> str:
        """The release tag."""

    def source(self) -> Source | None:
        """Where the artifact comes from."""

    def output(self) -> str | None:
        """Which file or directory of it is shipped; None: the one file it is."""


@dataclass(frozen=True)
class Artifact:
    """A file or directory on this machine whose SHA-256 has been compared. `size` in bytes.

    A directory's SHA-256 is that of its listing, see `listing_sha256`. `origin` is the JSON of
    `Resolved`: provenance and every output, for evidence.
    """

    path: Path
    name: str
    version: str
    sha256: str
    size: int
    origin: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def shown(self) -> str:
        """Path as seen from the working directory: where somebody keeps it is of no interest."""
        here = Path.cwd()
        if self.origin.get("kind", "file") != "file":
            return self.name  # in the cache
        return str(self.path.relative_to(here) if self.path.is_relative_to(here) else self.path)

    @classmethod
    def locate(
        cls,
        settings: Pinned,
        root: Path,
        *,
        progress: Say = quiet,
        production: Collection[str] = (),
    ) -> Self:
        """Find or make what `settings` pin. Raises Refused with the remedy.

        See `resolve` for `root`, `progress` and `production`.
        """
        source = settings.source()
        assert source is not None  # noqa: S101 - whoever pins an artifact has one
        try:
            found = resolve(
                source, settings.version, root, progress=progress, production=production
            )
        except Refused as error:
            raise Refused(f"artifact of {settings.version}: {error}") from None
        name = settings.output()
        if name is None and len(found.outputs) != 1:
            raise Refused(
                f"artifact of {settings.version}: found {len(found.outputs)} files "
                f"({', '.join(list(found.outputs)[:5])}), expected the executable alone. "
                "Correct outputs."
            )
        return cls.of(found, settings.version, name or next(iter(found.outputs)))

    @classmethod
    def of(cls, found: Resolved, version: str, name: str) -> Self:
        """Return the output `name`, or the directory of that name. Raises Refused."""
        output = found.outputs.get(name)
        inner = f"{name}/"
        below = {n: one for n, one in found.outputs.items() if n.startswith(inner)}
        if below:
            listing = listing_sha256({n.removeprefix(inner): one for n, one in below.items()})
            output = Output(found.path / name, listing, sum(one.size for one in below.values()))
        if output is None:
            raise Refused(
                f"artifact of {version}: found no {name} in it, expected one beside "
                f"{', '.join(list(found.outputs)[:8])}. Correct outputs."
            )
        return cls(
            output.path, Path(name).name, version, output.sha256, output.size, found.as_json()
        )
