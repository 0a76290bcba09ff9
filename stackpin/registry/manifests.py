"""What manifests say: digests are checked against the bytes, sizes and platforms read from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stackpin.registry.reference import is_digest

__all__ = ["ACCEPT", "Child", "Malformed", "Manifest", "digest_of", "platform_of", "read"]

_INDEXES = frozenset(
    {
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    }
)
_IMAGES = frozenset(
    {
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    }
)
ACCEPT = ", ".join(sorted(_INDEXES | _IMAGES))


class Malformed(Exception):  # noqa: N818 - reads as what was found
    """Bytes that are no manifest we know; the text completes "found ..."."""


@dataclass(frozen=True)
class Child:
    """One platform's image in an index, "linux/amd64" or "linux/arm64/v8"."""

    digest: str
    platform: str


@dataclass(frozen=True)
class Manifest:
    """An index with `children`, or one image with its `config` digest; `size` is compressed."""

    children: tuple[Child, ...] = ()
    config: str = ""
    size: int = 0


def digest_of(body: bytes) -> str:
    """Return the digest that names these bytes."""
    return "sha256:" + hashlib.sha256(body).hexdigest()


def read(body: bytes, content_type: str) -> Manifest:
    """Read a manifest or an index; its own mediaType wins over the header. Raises Malformed."""
    value = json_object(body)
    kind = value.get("mediaType") or content_type.partition(";")[0].strip()
    if kind in _INDEXES:
        return Manifest(children=tuple(_children(value)))
    if kind not in _IMAGES:
        raise Malformed(f"a manifest of the kind {str(kind)[:80] or 'unknown'}")
    config, layers = value.get("config"), value.get("layers")
    if not isinstance(config, dict) or not isinstance(layers, list):
        raise Malformed("a manifest without config and layers")
    parts = [config, *layers]
    if not all(isinstance(part, dict) and isinstance(part.get("size"), int) for part in parts):
        raise Malformed("a manifest whose parts have no sizes")
    if not is_digest(str(config.get("digest"))):
        raise Malformed("a manifest whose config has no sha256 digest")
    return Manifest(config=str(config["digest"]), size=sum(int(part["size"]) for part in parts))


def platform_of(config: Mapping[str, Any]) -> str:
    """Return the platform an image config names, "unknown" when it names none."""
    names = [config.get("os"), config.get("architecture"), config.get("variant")]
    return "/".join(str(name) for name in names if name) or "unknown"


def json_object(body: bytes) -> dict[str, Any]:
    """Parse a JSON object. Raises Malformed."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise Malformed("something that is not JSON") from None
    if not isinstance(value, dict):
        raise Malformed("JSON that is no object")
    return value


def _children(value: Mapping[str, Any]) -> list[Child]:
    listed = value.get("manifests")
    if not isinstance(listed, list):
        raise Malformed("an index without manifests")
    found = []
    for one in listed:
        platform = one.get("platform") if isinstance(one, dict) else None
        if not isinstance(platform, dict) or platform.get("os") in {None, "unknown"}:
            continue  # attestations stand in the index under the platform unknown/unknown
        if is_digest(str(one.get("digest"))):
            found.append(Child(str(one["digest"]), platform_of(platform)))
    if not found:
        raise Malformed("an index that names no platform")
    return found
