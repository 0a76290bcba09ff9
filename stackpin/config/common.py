"""Variables which are not one stack's: stackpin_*, and what the public side shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field, SecretStr

from stackpin.config.checks import BaseCheck, Where
from stackpin.config.hoststack import HostStack
from stackpin.config.needs import Endpoint, Kernel, OnFailure, Recommended
from stackpin.config.sources import Source
from stackpin.config.types import Listener, LocalPath, Model, PackageSpec, Port, SecretRef

INTERNAL = frozenset({"driver", "lock_token"})  # of Shared: set by the command, not by people
Resolve = Callable[[SecretRef], SecretStr]
Told = Literal["start", "success", "failure", "drift"]


class Shared(Model):
    """Variables of the tool itself, prefix stackpin_."""

    hidden: ClassVar[frozenset[str]] = frozenset({"lock_token"})

    lock_ttl: Annotated[
        int,
        Field(ge=10, le=3600, description="Seconds a deploy lock lives without a heartbeat."),
    ] = 60
    production: bool = Field(
        default=False, description="True refuses pre-releases (v1.2.0-rc.1) in this inventory."
    )
    packages: list[PackageSpec] = Field(
        default_factory=list,
        description="Packages every stack's deploy installs, by Debian's names, and versions that "
        "its own are pinned to: `name`, `name=version` or `name=prefix*`.",
        examples=[["restic=0.18*", "jq"]],
    )
    min_cpus: Annotated[int, Field(ge=1)] = Field(default=1, description="CPUs preflight asks for.")
    min_kernel: Kernel = Field(default="4.18", description="Oldest kernel preflight accepts.")
    recommended: Recommended = Field(
        default_factory=Recommended,
        description="What a host had better have: `cpus`, `memory_mb`, `disk_mb`; less is a "
        "warning.",
        examples=[{"cpus": 4, "memory_mb": 8192, "disk_mb": 51200}],
    )
    endpoints: dict[Endpoint, OnFailure] = Field(
        default_factory=dict,
        description="Addresses the hosts must reach, each `host:port` or a URL, and whether one "
        "out of reach stops a deploy (`fail`) or not (`warn`).",
        examples=[{"db.example.net:5432": "fail", "https://mirror.example.net/": "warn"}],
    )
    notify: list[SecretRef] = Field(
        default_factory=list,
        description="Apprise addresses that are told of runs and drift, each a secret reference.",
        examples=[["env:STACKPIN_NOTIFY_URL"]],
    )
    notify_on: list[Told] = Field(
        default=["success", "failure", "drift"],
        description="What they are told of; a rollback is a failure.",
    )
    metrics_file: LocalPath | None = Field(
        default=None,
        description="Where the figures of the last run go as Prometheus text, on your machine; "
        "{inventory} and {stack} are replaced.",
        examples=["/var/lib/node_exporter/stackpin-{stack}.prom"],
    )
    driver: Literal["operator"] | None = Field(
        default=None, description="Set by the stackpin command itself; leave it out of group data."
    )
    lock_token: str | None = Field(
        default=None, repr=False, description="Set by the stackpin command itself, as is driver."
    )

    def needs(self) -> dict[str, Any]:
        """Say what every stack needs of a host, as the host's `preflight` reads it."""
        return {
            "cpus": self.min_cpus,
            "kernel": self.min_kernel,
            "recommended": self.recommended.model_dump(),
            "endpoints": [
                {"address": address, "severity": severity}
                for address, severity in self.endpoints.items()
            ],
        }


class PublicEdge(Model):
    """Which ports the host shows to the world, prefix portal_."""

    http_port: Port = Field(default=80, description="Port that redirects to HTTPS.")
    https_port: Port = Field(default=443, description="Port of the portal.")
    listeners_allowed: list[Listener] = Field(
        default_factory=lambda: ["22/tcp"],
        description="Ports which may listen on public addresses, beside the portal's own two; "
        "any other is reported as drift.",
        examples=[["22/tcp", "51820/udp"]],
    )

    def allowed(self) -> list[str]:
        """Every listener allowed on this host, sorted, the portal's own ports included."""
        own = {f"{self.http_port}/tcp", f"{self.https_port}/tcp"}
        return sorted(own | set(self.listeners_allowed))


class SecretUse(NamedTuple):
    """A secret some variable refers to; `multiline` ones (keys) may hold line breaks."""

    variable: str
    ref: SecretRef
    multiline: bool = False


class Also(NamedTuple):
    """Another prefix a model reads a part of: `model` is the part, `names` all that may be set."""

    prefix: str
    model: type[Model]
    names: frozenset[str]


class StackSettings(Model):
    """Base of one stack's settings; subclasses are what `load` returns."""

    also: ClassVar[dict[str, Also]] = {"shared": Also("stackpin_", Shared, frozenset())}
    hidden: ClassVar[frozenset[str]] = frozenset()  # fields whose values are never shown

    shared: Shared = Shared()

    def checks(self, where: Where | None = None) -> list[BaseCheck]:
        """Every health check, or those of one place."""
        raise NotImplementedError

    def configuration(self) -> str:
        """Say in a few words what was validated: a line of preflight."""
        return f"{len(self.model_fields_set - self.also.keys())} variable(s) set, all valid"

    def host_stack(self, resolve: Resolve | None = None) -> HostStack:
        """Say what the host is told; without `resolve` secrets of a backup repository stay out."""
        raise NotImplementedError

    def needs(self, artifact_bytes: int = 0) -> dict[str, Any]:
        """Say what the host must offer, as the payload of the host's `preflight`."""
        raise NotImplementedError

    def secrets(self) -> list[SecretUse]:
        """Every secret the settings refer to."""
        raise NotImplementedError

    def source(self) -> Source | None:
        """Where the artifact comes from; None for a stack that has none."""
        return None

    def output(self) -> str | None:
        """Which file or directory of the artifact is shipped; None: the one file it is."""
        return None

    def secret_needs(self, resolve: Resolve) -> dict[str, Any]:  # noqa: ARG002
        """Say what `preflight` must know beside `needs` and what is secret: never shown."""
        return {}
