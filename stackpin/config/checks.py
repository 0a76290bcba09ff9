"""Health checks as data, one model per kind. `as_json()` is what the host program reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, field_validator, model_validator

from stackpin.config.problems import invalid
from stackpin.config.types import AbsPath, Model, Port

Where = Literal["slot", "host", "public"]
_AUTH_HEADER = re.compile(r"authorization|cookie|token|secret|api-?key|password", re.IGNORECASE)
_PERCENT = Annotated[int, Field(ge=1, le=100)]
_STACK = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
_REFERENCE = re.compile(r"\{env:[A-Za-z_][A-Za-z0-9_]*\}")


class BaseCheck(Model):
    """What every check has. `weight` counts in the score; `required` fails the gate alone."""

    name: Annotated[
        str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$", description="shown in results, unique")
    ]
    where: Where = Field(
        default="slot", description="slot: on its port, host: on the host, public: from outside"
    )
    weight: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] = Field(
        default=1.0, description="share in the score"
    )
    required: bool = Field(default=True, description="its failure alone fails the gate")
    timeout: Annotated[float, Field(gt=0, le=300, allow_inf_nan=False)] = Field(
        default=5.0, description="seconds"
    )
    retries: Annotated[int, Field(ge=0, le=30)] = Field(
        default=0, description="further attempts, one second apart"
    )

    @model_validator(mode="after")
    def _askable(self) -> Self:
        if self.where == "public" and not isinstance(self, HttpCheck):
            raise invalid('"slot" or "host": only http checks are asked from outside', "Change it.")
        return self

    def as_json(self) -> dict[str, Any]:
        """Return the check as the JSON object the host program reads; all fields are present."""
        return self.model_dump(mode="json")


class HttpCheck(BaseCheck):
    """One request, one answer. `{address}`, `{port}` and `{port+N}` in the URL are the slot's."""

    kind: Literal["http"] = "http"
    method: Literal["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"] = Field(
        default="GET", description="redirects are answers, never followed"
    )
    url: str = Field(description="absolute, http or https; {env:NAME} is the release's variable")
    headers: dict[str, str] = Field(
        default_factory=dict, description="sent; {env:NAME} is the release's variable"
    )
    status: Annotated[int, Field(ge=100, le=599)] = Field(default=200, description="expected")
    body: str | None = Field(default=None, description="exact text, a final line break aside")
    contains: list[str] = Field(default_factory=list, description="texts the body has")
    json_: JsonValue = Field(default=None, alias="json", description="exactly this JSON")
    json_has: dict[str, JsonValue] | None = Field(
        default=None, description="part of the JSON; [] is any list, {} any mapping, None anything"
    )
    series: list[str] = Field(default_factory=list, description="Prometheus series named")
    response_headers: dict[str, str] = Field(default_factory=dict, description="exact headers")
    version_header: str | None = Field(
        default=None, description="header that must be the release's version"
    )
    verify: bool = Field(
        default=True, description="check the server's certificate; never done on loopback"
    )
    ca: AbsPath | None = Field(
        default=None, description="PEM file on the host with the certificates to trust"
    )

    @model_validator(mode="after")
    def _known_to_the_asker(self) -> Self:
        if self.where == "public" and _REFERENCE.search(self.url):
            raise invalid(
                "a public URL without {env:NAME}: your machine has no release's environment",
                'Ask it with where="host".',
            )
        if self.where == "public" and (self.ca is not None or not self.verify):
            raise invalid(
                "verify and ca only for checks the host asks", "Leave them out, or change where."
            )
        return self

    def as_json(self) -> dict[str, Any]:
        """As `BaseCheck.as_json`; the exact JSON expected is under "json"."""
        return self.model_dump(mode="json", by_alias=True)

    @field_validator("url")
    @classmethod
    def _absolute(cls, value: str) -> str:
        added = [int(number) for number in re.findall(r"\{port\+(\d+)\}", value)]
        if any(not 0 < number < 65536 for number in added):
            raise invalid("{port+N} with N from 1 to 65535", "Correct the number.")
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
    host: str = Field(default="127.0.0.1", description="address to connect to")
    port: Port | None = Field(default=None, description="its port")


class SystemdCheck(BaseCheck):
    """A unit is in a state. `unit` None is the slot's; {slot} and {stack} are filled in.

    `of` asks for the live slot of another stack of this host.
    """

    kind: Literal["systemd"] = "systemd"
    unit: str | None = Field(default=None, description="name of the unit")
    state: str = Field(default="active", description="its ActiveState")
    of: _STACK | None = Field(default=None, description="of this other stack's live slot")


class DiskCheck(BaseCheck):
    """Free space in MiB, and the most that may be used, at `path`; None is the stack's data."""

    kind: Literal["disk"] = "disk"
    where: Where = "host"
    path: AbsPath | None = Field(default=None, description="where to look")
    free_mb: Annotated[int, Field(ge=1)] = Field(default=256, description="MiB")
    max_used_percent: _PERCENT | None = Field(default=None, description="percent that may be used")


class MemoryCheck(BaseCheck):
    """Memory in MiB the kernel calls available, and the most that may be in use."""

    kind: Literal["memory"] = "memory"
    where: Where = "host"
    available_mb: Annotated[int, Field(ge=1)] = Field(default=64, description="MiB")
    max_used_percent: _PERCENT | None = Field(default=None, description="percent that may be used")


class PermissionsCheck(BaseCheck):
    """Owner and mode of a path, for example mode "0600"; what is None is not looked at."""

    kind: Literal["permissions"] = "permissions"
    where: Where = "host"
    path: AbsPath = Field(description="file or folder")
    user: str | None = Field(default=None, description="owner")
    group: str | None = Field(default=None, description="group")
    mode: Annotated[str, Field(pattern=r"^[0-7]{3,4}$")] | None = Field(
        default=None, description="octal text"
    )


class LogCheck(BaseCheck):
    """No line of the unit's or container's log since its start matches one of `patterns`."""

    kind: Literal["log"] = "log"
    unit: str | None = Field(default=None, description="name of the unit; None is the slot's")
    of: _STACK | None = Field(default=None, description="of this other stack's live slot")
    patterns: list[str] = Field(
        default_factory=list, description="regular expressions; none: the usual ones"
    )

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
    path: AbsPath | None = Field(default=None, description="database file")
    tables: list[str] = Field(default_factory=list, description="tables it must have")
    schema_version: str | int | None = Field(
        default=None, description="newest row of schema_migrations"
    )


class CertificateCheck(BaseCheck):
    """The certificate at `path`, or the one served at `host`:`port`, is valid for `days`."""

    kind: Literal["certificate"] = "certificate"
    where: Where = "host"
    path: AbsPath | None = Field(default=None, description="PEM file")
    host: str = Field(default="127.0.0.1", description="address to ask")
    port: Port = Field(default=443, description="its port")
    days: Annotated[int, Field(ge=1)] = Field(default=14, description="least days left")


class CommandCheck(BaseCheck):
    """A program on the host (no shell) ends with `exit_code` and prints all of `contains`."""

    kind: Literal["command"] = "command"
    where: Where = "host"
    argv: Annotated[list[str], Field(min_length=1)] = Field(description="program and arguments")
    exit_code: Annotated[int, Field(ge=0, le=255)] = Field(default=0, description="expected")
    contains: list[str] = Field(default_factory=list, description="texts the output has")


class ContainerCheck(BaseCheck):
    """A container of the stack runs and is not unhealthy. Without a name it is the slot's.

    `of` looks at another stack of this host, by default at its live slot.
    """

    kind: Literal["container"] = "container"
    container: str | None = Field(default=None, description="its name")
    service: str | None = Field(default=None, description="or its compose service")
    of: _STACK | None = Field(default=None, description="of this other stack's live slot")
    healthy: bool = Field(default=False, description="its own health check must say healthy")
    max_restarts: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="restarts it may have had"
    )


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
    | CommandCheck
    | ContainerCheck,
    Field(discriminator="kind"),
]
CHECK_KINDS: dict[str, type[BaseCheck]] = {
    "http": HttpCheck,
    "tcp": TcpCheck,
    "systemd": SystemdCheck,
    "disk": DiskCheck,
    "memory": MemoryCheck,
    "permissions": PermissionsCheck,
    "log": LogCheck,
    "sqlite": SqliteCheck,
    "certificate": CertificateCheck,
    "command": CommandCheck,
    "container": ContainerCheck,
}


def distinct_names(checks: Sequence[BaseCheck]) -> None:
    """Raise the validation error that names the first check name used twice."""
    seen: set[str] = set()
    for check in checks:
        if check.name in seen:
            raise invalid(f"check names to differ ({check.name} is used twice)", "Rename one.")
        seen.add(check.name)
