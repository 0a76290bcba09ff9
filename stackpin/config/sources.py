"""Where an artifact comes from: a file, a URL, a build of a Git commit, or an image.

    infracore_artifact = git("https://git.example.org/infra-core", "{version}",
                             build=["make release"], outputs=["bin", "ui/dist"])

`file`, `url`, `git` and `image` return plain mappings: `load` makes models of them, and tells a
mistake in one as it tells that of any other variable. `{version}` stands for the pin.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, TypeAdapter, ValidationInfo, field_validator

from stackpin.config.mirrors import MirrorChoice
from stackpin.config.problems import invalid
from stackpin.config.types import (
    AbsPath,
    LocalPath,
    Model,
    is_release_tag,
)

__all__ = [
    "SOURCE",
    "FileSource",
    "GitSource",
    "ImageSource",
    "Source",
    "UrlSource",
    "file",
    "git",
    "image",
    "url",
]

_SECRET_NAME = re.compile(r"TOKEN|PASSWORD|PASSWD|SECRET|CREDENTIAL|PRIVATE|API_?KEY", re.I)


def _digests(value: str | dict[str, str]) -> str | dict[str, str]:
    versions = value if isinstance(value, dict) else {"v0.0.0": value}
    for version, digest in versions.items():
        if not is_release_tag(version) or not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise invalid(
                "a SHA-256 of 64 hexadecimal digits, or a mapping of versions to theirs",
                "Run sha256sum on the published file.",
            )
    return value


def _template(value: str) -> str:
    if re.search(r"[{}]", value.replace("{version}", "")):
        raise invalid("no placeholder but {version}", "Remove the other braces.")
    return value


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, sound = urlsplit(""), False
    if "@" in parts.netloc:
        raise invalid("a URL without user and password", "Remove what is before the @.")
    if not sound or any(not c.isprintable() or c.isspace() for c in value):
        raise invalid("an http:// or https:// URL", "Write the full address of the file.")
    return _template(value)


def _repo(value: str) -> str:
    secret = re.match(r"[a-z+]+://[^/@\s]*:[^/@\s]*@|https?://[^/@\s]*@", value)
    if secret:
        raise invalid(
            "a repository without a password or token in its address",
            "Use an SSH key, or git's own credential helper.",
        )
    if value.startswith("-") or not value or any(not c.isprintable() for c in value):
        raise invalid("the address or path of a Git repository", "Write it as git clone takes it.")
    return value


def _ref(value: str) -> str:
    # What git check-ref-format allows, without what a shell or an option could be made of.
    if not re.fullmatch(r"[A-Za-z0-9{][A-Za-z0-9._/+{}-]*", value) or ".." in value:
        raise invalid("a tag, a branch or a commit", 'Write "{version}" for the tag of the pin.')
    return _template(value)


def _output(value: str) -> str:
    path = PurePosixPath(value)
    plain = all(c.isprintable() for c in value)
    if not plain or path.is_absolute() or ".." in path.parts or path == PurePosixPath():
        raise invalid("a path inside the build, relative and without ..", 'Such as "bin".')
    return _template(str(path))


def _image_ref(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][A-Za-z0-9.:/_-]*:[A-Za-z0-9._{}-]+", value):
        raise invalid('an image with its tag, such as "example.org/app:{version}"', "Write it so.")
    if value.endswith(":latest"):
        raise invalid("a tag other than latest", 'Write "{version}" for the pin.')
    return _template(value)


def _build_host(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._@-]*", value):
        raise invalid("a host as ssh takes it: a name, or user@name", "Write it so.")
    return value


Template = Annotated[LocalPath, AfterValidator(_template)]
OutputPath = Annotated[str, AfterValidator(_output)]
Digests = Annotated[str | dict[str, str], AfterValidator(_digests)]
Outputs = Annotated[list[OutputPath], Field(min_length=1)]


class _Source(Model):
    """What the four have in common."""

    def at(self, version: str) -> Self:
        """Return the source of one version: {version} filled in, its own digest chosen."""
        changed: dict[str, Any] = {}
        for name in ("path", "url", "ref", "image"):
            value = getattr(self, name, None)
            if isinstance(value, str):
                changed[name] = value.replace("{version}", version)
        if isinstance(outputs := getattr(self, "outputs", None), list):
            changed["outputs"] = [one.replace("{version}", version) for one in outputs]
        if isinstance(digests := getattr(self, "sha256", None), dict):
            changed["sha256"] = digests.get(version)
        return self.model_copy(update=changed)


class FileSource(_Source):
    """A file or directory on the operator's machine, relative to the repository or absolute.

    `sha256` None: SHA256SUMS beside the file, or in the directory, tells what is meant.
    """

    kind: Literal["file"] = "file"
    path: Template
    sha256: Digests | None = None


class UrlSource(_Source):
    """A download whose content is known before: `sha256`, also as a mapping of version to it."""

    kind: Literal["url"] = "url"
    url: Annotated[str, AfterValidator(_url)]
    sha256: Digests


class GitSource(_Source):
    """A build, made once per commit in a clean worktree, never on the host that will run it.

    `build` are shell command lines run one after another in the worktree's root, `outputs` the
    files and directories taken from it. `build_host` is where it runs: None is this machine.
    """

    kind: Literal["git"] = "git"
    repo: Annotated[str, AfterValidator(_repo)]
    ref: Annotated[str, AfterValidator(_ref)] = "{version}"
    build: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)
    outputs: Outputs
    submodules: bool = True
    env: dict[str, str] = Field(default_factory=dict)
    mirrors: MirrorChoice = "none"
    build_host: Annotated[str, AfterValidator(_build_host)] | None = None

    @field_validator("ref")
    @classmethod
    def _fixed(cls, value: str, info: ValidationInfo) -> str:
        # A branch moves: what it named yesterday cannot be built again today.
        tag = value.startswith("refs/tags/") or is_release_tag(value.replace("{version}", "v0.0.0"))
        if (info.context or {}).get("production") and not tag and not is_commit(value):
            raise invalid(
                "a tag (vX.Y.Z or refs/tags/NAME) or a commit of 40 hexadecimal digits, because "
                "stackpin_production is True",
                'Write "{version}" for the tag of the pin.',
            )
        return value

    @field_validator("env")
    @classmethod
    def _names(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise invalid(f"names of environment variables ({name!r} is none)", "Rename it.")
            if _SECRET_NAME.search(name):
                raise invalid(
                    f"no secret ({name} looks like one): a build is cached and told of in evidence",
                    "Let the build host's own configuration hold it.",
                )
        return value


class ImageSource(_Source):
    """Files out of a container image: `outputs` below `root` in it. `sha256` is the manifest's."""

    kind: Literal["image"] = "image"
    image: Annotated[str, AfterValidator(_image_ref)]
    outputs: Outputs
    root: AbsPath = "/"
    sha256: Digests | None = Field(default=None, validate_default=True)

    @field_validator("sha256")
    @classmethod
    def _known(cls, value: Digests | None, info: ValidationInfo) -> Digests | None:
        if value is None and (info.context or {}).get("production"):
            raise invalid(
                "the digest of the image's manifest, because stackpin_production is True",
                "Add sha256=, without its prefix sha256:.",
            )
        return value


Source = Annotated[
    FileSource | UrlSource | GitSource | ImageSource,
    Field(discriminator="kind"),
]
SOURCE: TypeAdapter[Source] = TypeAdapter(Source)


def is_commit(ref: str) -> bool:
    """Whether `ref` is a full commit id, which can name nothing else tomorrow."""
    return re.fullmatch(r"[0-9a-f]{40}", ref) is not None


def file(path: str, sha256: str | Mapping[str, str] | None = None) -> dict[str, Any]:
    """Take a file or a directory of this machine."""
    return {"kind": "file", "path": path, "sha256": sha256}


def url(url: str, sha256: str | Mapping[str, str]) -> dict[str, Any]:
    """Download a file and compare its digest."""
    return {"kind": "url", "url": url, "sha256": sha256}


def git(  # noqa: PLR0917 - in the order they are thought of
    repo: str,
    ref: str = "{version}",
    build: Sequence[str] = (),
    outputs: Sequence[str] = (),
    submodules: bool = True,
    env: Mapping[str, str] | None = None,
    mirrors: str | Mapping[str, str] | None = None,
    build_host: str | None = None,
) -> dict[str, Any]:
    """Build a commit and take what the build made. Without `mirrors` the stack's own are used."""
    made = {
        "kind": "git",
        "repo": repo,
        "ref": ref,
        "build": list(build),
        "outputs": list(outputs),
        "submodules": submodules,
        "env": dict(env or {}),
        "build_host": build_host,
    }
    return made if mirrors is None else {**made, "mirrors": mirrors}


def image(
    image: str,
    outputs: Sequence[str] = (),
    root: str = "/",
    sha256: str | Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Take files out of a container image."""
    return {
        "kind": "image",
        "image": image,
        "outputs": list(outputs),
        "root": root,
        "sha256": sha256,
    }
