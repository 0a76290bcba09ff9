"""One container as a value, and the release that consists of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from operations.provenance import git_head, who
from stackpin.config.release import Release

__all__ = ["Container", "image_release"]


@dataclass(frozen=True)
class Container:
    """What `docker run` is told. `image` is "repo:tag@sha256:..": a tag alone may move.

    The host writes a digest of all this and of the environment on the container, and so sees
    whether what runs is what was declared: the same is left alone, anything else replaced.
    """

    name: str
    image: str
    restart: str = "always"
    network: str | None = None
    volumes: list[str] = field(default_factory=list)
    ports: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    pull: str = "missing"

    def text(self) -> str:
        """Return the text of container.json: equal containers are equal bytes."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"


def image_release(  # noqa: PLR0917 - in the order of what is hashed
    version: str,
    name: str,
    text: str,
    environment: Mapping[str, str],
    images: Mapping[str, str],
    key: str,
    root: Path,
) -> Release:
    """Make the release of a stack of containers: `text` is its container.json or compose.yml.

    `images` (role -> "repo:tag@sha256:..") are all that the host pulls; `key` as `Release.make`.
    """
    return Release.make(
        version,
        hashlib.sha256(text.encode()).hexdigest(),
        name,
        environment,
        text,
        key,
        git_head=git_head(root),
        created_by=who(),
        images=images,
    )
