"""A release: one artifact with one environment and one unit, under an id that names all three."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from stackpin.config.envfile import render_env

_ID = re.compile(r"(?P<version>v[0-9A-Za-z.-]+)-(?P<digest>[0-9a-f]{8})")


@dataclass(frozen=True)
class Release:
    """What one version is on a host. `id` is "<version>-<8 hex digits>"; `env_text` has secrets."""

    id: str
    version: str
    artifact_sha256: str
    artifact_name: str
    env_text: str = field(repr=False)
    unit_text: str = field(repr=False)
    git_head: str = ""
    created_by: str = ""
    images: Mapping[str, str] = field(default_factory=dict)  # role -> "repo:tag@sha256:.."

    @classmethod
    def make(  # noqa: PLR0917 - in the order of what is hashed
        cls,
        version: str,
        artifact_sha256: str,
        artifact_name: str,
        environment: Mapping[str, str],
        unit_text: str,
        key: str,
        *,
        git_head: str = "",
        created_by: str = "",
        images: Mapping[str, str] | None = None,
    ) -> Self:
        """Compute the id from artifact, environment and unit; a change in any is a new release.

        `key` is a secret (the admin token, or ""): the id is public and must not let anyone try
        out guesses of what is in the environment. `env_text` gets STACKPIN_RELEASE, so that a
        running process tells which release it is. `images` are those the unit text names, and
        those only pulled: the digests of the latter count too. Raises UnwritableError.
        """
        parts = [artifact_sha256.encode(), render_env(environment).encode(), unit_text.encode()]
        if images:
            parts.append("\n".join(sorted(images.values())).encode())
        # Lengths go in too: what moves from one part into the next is another release.
        message = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
        digest = hmac.new(key.encode(), message, hashlib.sha256).hexdigest()[:8]
        release = f"{version}-{digest}"
        env_text = render_env({**environment, "STACKPIN_RELEASE": release})
        return cls(
            release,
            version,
            artifact_sha256,
            artifact_name,
            env_text,
            unit_text,
            git_head,
            created_by,
            dict(images or {}),
        )

    def as_json(self) -> dict[str, Any]:
        """Return the `release` object of the host's `receive`; without environment and unit."""
        return {
            "id": self.id,
            "version": self.version,
            "artifact_sha256": self.artifact_sha256,
            "artifact_name": self.artifact_name,
            "git_head": self.git_head,
            "created_by": self.created_by,
            **({"images": dict(self.images)} if self.images else {}),
        }


def version_of(release_id: str) -> str:
    """Return the version in a release id, or "" when it is not one."""
    match = _ID.fullmatch(release_id)
    return match["version"] if match else ""
