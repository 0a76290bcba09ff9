"""Health checks as data, one model per kind. `as_json()` is what the host program reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, TypeAdapter, field_validator

from stackpin.config.problems import invalid
from stackpin.config.types import AbsPath, Model, Port

Where = Literal["slot", "host", "public"]
_AUTH_HEADER = re.compile(r"authorization|cookie|token|secret|api-?key|password", re.IGNORECASE)
_REFERENCE = re.compile(r"\{env:[A-Za-z_][A-Za-z0-9_]*\}")


class BaseCheck(Model):
    """What every check has. `weight` counts in the score; `required` fails the gate alone."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
    where: Where = "slot"
    weight: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] = 1.0
    required: bool = True
    timeout: Annotated[float, Field(gt=0, le=300, allow_inf_nan=False)] = 5.0
    retries: Annotated[int, Field(ge=0, le=30)] = 0

    def as_json(self) -> dict[str, Any]:
        """Return the check as the JSON object the host program reads; all fields are present."""
        return self.model_dump(mode="json")


class HttpCheck(BaseCheck):
    """One request, one answer. `{port}` in the URL is the port of the slot being judged."""

    kind: Literal["http"] = "http"
    method: Literal["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"] = "GET"
    url: str
    headers: dict[str, str] = Field(default_factory=dict)
    status: Annotated[int, Field(ge=100, le=599)] = 200
    body: str | None = None
    contains: list[str] = Field(default_factory=list)
    json_: JsonValue = Field(default=None, alias="json")
    json_has: dict[str, JsonValue] | None = None
    series: list[str] = Field(default_factory=list)
    response_headers: dict[str, str] = Field(default_factory=dict)
    version_header: str | None = None

    def as_json(self) -> dict[str, Any]:
        """As `BaseCheck.as_json`; the exact JSON expected is under "json"."""
        return self.model_dump(mode="json", by_alias=True)

    @field_validator("url")
    @classmethod
    def _absolute(cls, value: str) -> str:
        if not re.match(r"https?://[^/@\s]+(/\S*)?$", value):
            raise invalid(
                "an absolute http(s) URL without user or password",
                'For a slot write "http://127.0.0.1:{port}/path".',
            )
        return value

    @field_validator("headers")
    @classmethod
    def _no_literal_secret(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if re.search(r"[\r\n\0]", name + text):
                raise invalid("headers without line breaks", "Write one line per header.")
            if _AUTH_HEADER.search(name) and not _REFERENCE.search(text):
                raise invalid(
                    f"header {name} to take its secret from the release's environment",
                    'Write it as "Bearer {env:NAME}".',
                )
        return value


class TcpCheck(BaseCheck):
    """A connection is accepted. `port` None is the port of the slot being judged."""

    kind: Literal["tcp"] = "tcp"
    host: str = "127.0.0.1"
    port: Port | None = None


class SystemdCheck(BaseCheck):
    """A unit is in a state. `unit` None is the slot's; {slot} and {stack} are filled in."""

    kind: Literal["systemd"] = "systemd"
    unit: str | None = None
    state: str = "active"


class DiskCheck(BaseCheck):
    """Free space in MiB at `path`; None is the stack's data."""

    kind: Literal["disk"] = "disk"
    where: Where = "host"
    path: AbsPath | None = None
    free_mb: Annotated[int, Field(ge=1)] = 256


class MemoryCheck(BaseCheck):
    """Memory in MiB the kernel calls available."""

    kind: Literal["memory"] = "memory"
    where: Where = "host"
    available_mb: Annotated[int, Field(ge=1)] = 64


class PermissionsCheck(BaseCheck):
    """Owner and mode of a path, for example mode "0600"; what is None is not looked at."""

    kind: Literal["permissions"] = "permissions"
    where: Where = "host"
    path: AbsPath
    user: str | None = None
    group: str | None = None
    mode: Annotated[str, Field(pattern=r"^[0-7]{3,4}$")] | None = None


class LogCheck(BaseCheck):
    """No line of the unit's log since its start matches; no `patterns` means the usual ones."""

    kind: Literal["log"] = "log"
    unit: str | None = None
    patterns: list[str] = Field(default_factory=list)

    @field_validator("patterns")
    @classmethod
    def _compile(cls, value: list[str]) -> list[str]:
        for pattern in value:
            try:
                re.compile(pattern)
            except re.error as error:
                expected = f"regular expressions ({pattern!r} does not compile: {error})"
                raise invalid(expected, "Escape what is meant literally.") from None
        return value


class SqliteCheck(BaseCheck):
    """The database is intact and has its tables. `path` None is the stack's database."""

    kind: Literal["sqlite"] = "sqlite"
    where: Where = "host"
    path: AbsPath | None = None
    tables: list[str] = Field(default_factory=list)
    schema_version: str | int | None = None


class CertificateCheck(BaseCheck):
    """The certificate at `path`, or the one served at `host`:`port`, is valid for `days`."""

    kind: Literal["certificate"] = "certificate"
    where: Where = "host"
    path: AbsPath | None = None
    host: str = "127.0.0.1"
    port: Port = 443
    days: Annotated[int, Field(ge=1)] = 14


class CommandCheck(BaseCheck):
    """A program on the host (no shell) ends with `exit_code` and prints all of `contains`."""

    kind: Literal["command"] = "command"
    where: Where = "host"
    argv: Annotated[list[str], Field(min_length=1)]
    exit_code: Annotated[int, Field(ge=0, le=255)] = 0
    contains: list[str] = Field(default_factory=list)


Check = Annotated[
    HttpCheck
    | TcpCheck
    | SystemdCheck
    | DiskCheck
    | MemoryCheck
    | PermissionsCheck
    | LogCheck
    | SqliteCheck
    | CertificateCheck
    | CommandCheck,
    Field(discriminator="kind"),
]
CHECK: TypeAdapter[Check] = TypeAdapter(Check)


def distinct_names(checks: Sequence[BaseCheck]) -> None:
    """Raise the validation error that names the first check name used twice."""
    seen: set[str] = set()
    for check in checks:
        if check.name in seen:
            raise invalid(f"check names to differ ({check.name} is used twice)", "Rename one.")
        seen.add(check.name)
