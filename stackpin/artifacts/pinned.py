"""The pinned artifact of a stack that ships one file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from stackpin.artifacts.model import Resolved, Say, quiet
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


@dataclass(frozen=True)
class Artifact:
    """A file on this machine whose SHA-256 has been compared. `size` in bytes.

    `origin` is the JSON of `Resolved`: provenance and every output, for evidence.
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
        """Find or make the one file `settings` pin. Raises Refused with the remedy.

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
        if len(found.outputs) != 1:
            raise Refused(
                f"artifact of {settings.version}: found {len(found.outputs)} files "
                f"({', '.join(list(found.outputs)[:5])}), expected the executable alone. "
                "Correct outputs."
            )
        return cls.of(found, settings.version, next(iter(found.outputs)))

    @classmethod
    def of(cls, found: Resolved, version: str, name: str) -> Self:
        """Return one output of a resolved source as what a release ships. Raises Refused."""
        output = found.outputs.get(name)
        if output is None:
            raise Refused(
                f"artifact of {version}: found no {name} in it, expected one beside "
                f"{', '.join(list(found.outputs)[:8])}. Correct outputs."
            )
        return cls(
            output.path, Path(name).name, version, output.sha256, output.size, found.as_json()
        )
