"""An image on this machine's disk: what the builder gives and the pusher takes."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

__all__ = [
    "CONFIG_TYPE",
    "LAYER_TYPE",
    "MANIFEST_TYPE",
    "BuiltImage",
    "Layer",
    "canonical_json",
    "digest_of",
]

MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def digest_of(data: bytes) -> str:
    """Name bytes as a registry does: `sha256:` and 64 hex digits."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass(frozen=True)
class Layer:
    """One gzipped tar file; images share it when the digest is the same.

    `digest` names the gzipped file, `diff_id` the tar inside (both `sha256:<64 hex>`), `size` is
    the gzipped file's length in bytes.
    """

    path: Path
    digest: str
    diff_id: str
    size: int


@dataclass(frozen=True)
class BuiltImage:
    """One image: `name` without registry and namespace (`xingrin-server`), `tag` as pushed.

    `config` is the image configuration as JSON bytes; its `rootfs.diff_ids` are those of `layers`,
    lowest first.
    """

    name: str
    tag: str
    config: bytes
    layers: tuple[Layer, ...]

    @classmethod
    def make(
        cls, name: str, tag: str, layers: tuple[Layer, ...], settings: dict[str, Any]
    ) -> "BuiltImage":
        """Build one from the part of the configuration that Docker calls `config`.

        `settings` has keys such as Env, Cmd, Entrypoint, WorkingDir, Healthcheck (times in ns).
        The same arguments give the same digest on every machine.
        """
        config = {
            "architecture": "amd64",
            "os": "linux",
            "created": "2025-01-01T00:00:00Z",
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            "history": [{"created": "2025-01-01T00:00:00Z"} for _layer in layers],
        }
        return cls(name, tag, canonical_json(config), layers)

    @cached_property
    def manifest(self) -> bytes:
        """The manifest as pushed; its bytes decide the image's digest."""
        return canonical_json(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": {
                    "mediaType": CONFIG_TYPE,
                    "size": len(self.config),
                    "digest": digest_of(self.config),
                },
                "layers": [
                    {"mediaType": LAYER_TYPE, "size": layer.size, "digest": layer.digest}
                    for layer in self.layers
                ],
            }
        )

    @property
    def digest(self) -> str:
        """What `repo:tag@sha256:…` pins."""
        return digest_of(self.manifest)


def canonical_json(document: dict[str, Any]) -> bytes:
    """Write JSON that is the same, byte for byte, whenever the content is."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
