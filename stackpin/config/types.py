"""The small types variables are made of. Values are refused, never silently mended."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import semver
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    model_serializer,
    model_validator,
)

from stackpin.config.packages import SPEC
from stackpin.config.problems import invalid

TAG_MAX = 64  # a tag is part of paths, unit names and host journal lines


class Model(BaseModel):
    """Base of all settings: immutable, no unknown fields, "90" is not a number."""

    # Built when first validated: most are parts of a larger one only, which builds them itself.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


def release_tag(value: object) -> str:
    """Return `value` when it is a release tag, vX.Y.Z or vX.Y.Z-pre; else raise a custom error."""
    remedy = 'Pin a published release, for example "v1.2.3".'
    expected = "a release tag vX.Y.Z (strict semantic version)"
    if not isinstance(value, str):
        raise invalid(expected + " as text", "Put it in quotes. " + remedy)
    if value.lower() == "latest":
        raise invalid(expected, f"latest is not a version: what runs could not be told. {remedy}")
    if not value or value.startswith("__"):
        raise invalid(expected, f"This is a placeholder. {remedy}")
    if not is_release_tag(value):
        raise invalid(expected, remedy)
    return value


def _package(value: str) -> str:
    if not SPEC.fullmatch(value):
        raise invalid(
            "a package such as restic, restic=0.18.0-1+b4 or restic=0.18*",
            "Write the name, and after = the version, if it is pinned.",
        )
    return value


PackageSpec = Annotated[str, AfterValidator(_package)]


def is_release_tag(text: str) -> bool:
    """Whether `text` is vX.Y.Z or vX.Y.Z-pre (no build metadata, at most 64 characters)."""
    if not text.startswith("v") or "+" in text or len(text) > TAG_MAX:
        return False
    return bool(text.isascii() and semver.Version.is_valid(text[1:]))


def is_prerelease(tag: str) -> bool:
    """Whether a release tag is a pre-release, v1.2.3-rc.1."""
    return semver.Version.parse(tag.removeprefix("v")).prerelease is not None


def compare_tags(one: str, other: str) -> int:
    """-1, 0 or 1 as release tag `one` is older than, equal to or newer than `other`."""
    return semver.Version.parse(one.removeprefix("v")).compare(other.removeprefix("v"))


def _pinned(tag: str, info: ValidationInfo) -> str:
    if (info.context or {}).get("production") and is_prerelease(tag):
        raise invalid(
            "a release without a pre-release part, because stackpin_production is True",
            "Pin a final release, or try this one in another inventory first.",
        )
    return tag


def _abs_path(value: str) -> str:
    # The path lands in unit files, nginx configuration and command lines of several hosts: the
    # plain set of characters needs no quoting in any of them.
    if not re.fullmatch(r"/[A-Za-z0-9._@+,=/-]*", value) or ".." in value.split("/"):
        raise invalid(
            "an absolute path of letters, digits and . _ @ + , = / - without ..",
            "Write the full path.",
        )
    return re.sub("/+", "/", value).rstrip("/") or "/"


def _local_path(value: str) -> str:
    if not value or any(not c.isprintable() for c in value):
        raise invalid("a path, relative to the working directory or absolute", "Write a path.")
    return value


def _user(value: str) -> str:
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,30}", value):
        raise invalid("a Unix user name (a-z, 0-9, _ and -, at most 31)", "Choose such a name.")
    return value


def _duration(value: str) -> str:
    if not re.fullmatch(r"([0-9]+(\.[0-9]+)?(ms|s|m|h))+", value) or not re.search("[1-9]", value):
        raise invalid("a duration above zero such as 12h, 30m or 1h30m", "Write number and unit.")
    return value


def _https_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        port_ok = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_ok = urlsplit(""), False
    plain = all(c.isprintable() and not c.isspace() for c in value)
    if parts.scheme != "https" or not parts.hostname or not port_ok or not plain:
        raise invalid("an https:// URL", "Write it as https://name.example.org.")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise invalid("a URL without user, query or fragment", "Keep scheme, name, port and path.")
    return value.rstrip("/")


def is_host_name(text: str) -> bool:
    """Whether `text` is a DNS name or an IP address (v6 without brackets)."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        label = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
        return len(text) < 254 and re.fullmatch(rf"{label}(\.{label})*", text) is not None
    return True


def _host_name(value: str) -> str:
    if not is_host_name(value):
        raise invalid("a DNS name or an IP address", "Write the name browsers will use.")
    return value


def _listener(value: str) -> str:
    port, _, protocol = value.partition("/")
    if protocol not in {"tcp", "udp"} or not port.isdecimal() or not 0 < int(port) < 65536:
        raise invalid('a port and protocol such as "22/tcp"', "Write it so.")
    return value


ReleaseTag = Annotated[str, BeforeValidator(release_tag), AfterValidator(_pinned)]
AbsPath = Annotated[str, AfterValidator(_abs_path)]
LocalPath = Annotated[str, AfterValidator(_local_path)]
UserName = Annotated[str, AfterValidator(_user)]
Duration = Annotated[str, AfterValidator(_duration)]
HttpsUrl = Annotated[str, AfterValidator(_https_url)]
HostName = Annotated[str, AfterValidator(_host_name)]
Listener = Annotated[str, AfterValidator(_listener)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class SecretRef(Model):
    """Where a secret is, never the secret: env:NAME, file:path, command:argv or age:file."""

    kind: Literal["env", "file", "command", "age"]
    target: str

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:  # noqa: ANN401
        if isinstance(value, dict | SecretRef):
            return value
        kind, colon, target = value.partition(":") if isinstance(value, str) else ("", "", "")
        expected = "a reference env:NAME, file:path, command:program arguments or age:file"
        if not colon or kind not in {"env", "file", "command", "age"}:
            raise invalid(
                f"{expected} (a secret value must be a reference)",
                "Keep the value out of the inventory: export it and refer to it as env:NAME.",
            )
        if kind == "env" and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", target):
            raise invalid("env: followed by the name of an environment variable", "Name one.")
        if not target.strip():
            raise invalid(expected, f"Say what {kind}: refers to.")
        return {"kind": kind, "target": target}

    @model_serializer
    def _text(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return f"{self.kind}:{self.target}"

    @classmethod
    def of(cls, text: str) -> Self:
        """Parse "env:NAME" and the like. Raises pydantic.ValidationError."""
        return cls.model_validate(text)
