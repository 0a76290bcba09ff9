"""Image references: what "host:5000/team/app:v1.2.3@sha256:..." names, by Docker's own rules."""

from __future__ import annotations

import re
from dataclasses import dataclass

from stackpin.errors import Refused

__all__ = ["DOCKER_HUB", "Reference", "api_host", "is_digest", "parse"]

DOCKER_HUB = "docker.io"
_HUB_API = "registry-1.docker.io"  # where Docker Hub answers; docker.io is its name in references
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_LABEL = r"(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9])"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:]+\])(?::(?P<port>[0-9]{{1,5}}))?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PATH_MAX = 255


@dataclass(frozen=True)
class Reference:
    """One image: `registry` is always set, `repository` has library/ for Docker Hub's own ones."""

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        """The repository with its registry, as `docker pull` takes it."""
        return f"{self.registry}/{self.repository}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}" + (f"@{self.digest}" if self.digest else "")


def is_digest(text: str) -> bool:
    """Whether `text` is "sha256:" and 64 lower case hex digits."""
    return _DIGEST.fullmatch(text) is not None


def api_host(registry: str) -> str:
    """Return the address to ask for a registry as references name it."""
    return _HUB_API if registry in {DOCKER_HUB, f"index.{DOCKER_HUB}"} else registry


def parse(text: str) -> Reference:
    """Take a reference apart. Raises Refused for what `docker pull` would not take either."""
    rest, at, digest = text.partition("@")
    if at and not is_digest(digest):
        raise _wrong(text, f"the digest {digest!r}", "sha256: and 64 hex digits")
    first, slash, path = rest.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry = first
    else:
        registry, path = DOCKER_HUB, rest
    head, _, last = path.rpartition("/")
    last, colon, tag = last.partition(":")
    path = f"{head}/{last}" if head else last
    if colon and not _TAG.fullmatch(tag):
        raise _wrong(text, f"the tag {tag!r}", "letters, digits and . _ - (at most 128)")
    host = _HOST.fullmatch(registry)
    if host is None or int(host["port"] or 443) not in range(1, 65536):
        raise _wrong(text, f"the registry {registry!r}", "a name or address with its port")
    if registry == f"index.{DOCKER_HUB}":
        registry = DOCKER_HUB
    if registry == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    if not _PATH.fullmatch(path) or len(path) > _PATH_MAX:
        raise _wrong(text, f"the name {path!r}", "lower case letters, digits and single . _ - /")
    return Reference(registry, path, tag or None, digest or None)


def _wrong(text: str, found: str, expected: str) -> Refused:
    return Refused(
        f"image {text!r}: found {found}, expected {expected}. Write it as "
        '"registry.example.org:5000/team/app:v1.2.3".'
    )
