"""The variables infracore_*: the same names for every part."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stackpin.config.checks import Check
from stackpin.config.fields import AddedFields, RegistryFields, RolloutFields
from stackpin.config.infracore_types import Overlap, PublicPorts, Service, Slots
from stackpin.config.infracore_yaml import ProductConfig
from stackpin.config.mirrors import MirrorChoice
from stackpin.config.needs import Recommended
from stackpin.config.portal import TlsFiles
from stackpin.config.sources import FileSource, Source
from stackpin.config.types import (
    HostName,
    Listener,
    ReleaseTag,
    SecretRef,
    UserName,
)
from stackpin.config.xingrin_types import Namespace, ProjectName

__all__ = ["InfracoreFields"]

Mib = Annotated[int, Field(ge=1)]
Cpus = Annotated[int, Field(ge=1, le=4096)]


class InfracoreFields(AddedFields, RegistryFields, RolloutFields):
    """Every variable of InfraCore."""

    version: ReleaseTag = Field(
        description="The release all five services run: the pin. `stackpin update` bumps it.",
        examples=["v1.0.0"],
    )
    mode: Literal["systemd", "compose"] = Field(
        default="systemd",
        description="How services run: hardened systemd units, or containers of one Compose "
        "project on the host's network.",
        examples=["compose"],
    )
    artifact: Source = Field(
        default=FileSource(path="artifacts/infracore/infracore-{version}"),
        description="Where bin/<service> and ui/dist come from (see the page on artifacts). In "
        "mode compose the services come from images, and only ui/dist is taken.",
        examples=[{"kind": "file", "path": "artifacts/infracore/infracore-{version}"}],
    )
    config_name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")] = Field(
        default="production",
        description="INFRA_CORE_ENV: the services read configs/<this>.yaml.",
        examples=["staging"],
    )
    config: ProductConfig = Field(
        default=ProductConfig(),
        description="What differs from the defaults in the product's own file, entry by entry.",
        examples=[
            {"console": {"auth": {"jwt": {"expires_hours": 4}}}, "snap": {"max_parallel": 2}}
        ],
    )
    ports: PublicPorts = Field(
        default=PublicPorts(),
        description="The ports clients know.",
        examples=[{"gate": 8080, "gate_tls": 8443}],
    )
    slots: Slots = Field(
        default=Slots(),
        description="Loopback ports of both slots and of the rehearsal, by service.",
        examples=[{"snap": {"blue": 18388, "green": 18389, "rehearsal": 18391}}],
    )
    overlap: Overlap = Field(
        default=Overlap(),
        description="By service: run both slots during a switch. False stops the old before the "
        "new starts, and the service itself listens on its public port.",
        examples=[{"orchestrator": False}],
    )
    expose: list[Literal["console", "orchestrator", "probe", "snap"]] = Field(
        default_factory=list,
        description="Services whose public port other machines may reach; gate's always is open.",
        examples=[["console"]],
    )
    required: list[Service] = Field(
        default=["gate", "console"],
        description="Services that may not fail whatever the score of the whole.",
    )
    server_name: HostName = Field(
        default="localhost",
        description="Name the gate is reached under, also in the certificate made here.",
        examples=["infra.example.org"],
    )
    tls: Literal["self-signed"] | TlsFiles | None = Field(
        default="self-signed",
        description="Certificate of gate's HTTPS: made once on the host, your own files, or None "
        "for no HTTPS.",
        examples=[{"certificate": "tls/fullchain.pem", "key": "file:~/.secrets/infracore.key"}],
    )
    user: UserName = Field(default="infracore", description="The services' Unix user.")
    jwt_secret: SecretRef | None = Field(
        default=None,
        description="What signs tokens. None: made once on the host and kept there.",
        examples=["env:INFRACORE_JWT_SECRET"],
    )
    namespace: Namespace = Field(
        default="infracore",
        description="Folder of the images in the registry; they are named infracore-<service>.",
    )
    project: ProjectName = Field(
        default="infracore", description="Compose project: prefix of its containers and volumes."
    )
    mirrors: MirrorChoice = Field(
        default="none",
        description='Where builds and docker download from: "none", "cn" or URLs of your own. '
        "`git(..., mirrors=)` and infracore_registry_mirrors go before it.",
        examples=[{"docker": "https://mirror.example.org"}],
    )
    listeners_allowed: list[Listener] = Field(
        default_factory=lambda: ["22/tcp"],
        description="Ports which may listen on public addresses beside InfraCore's own; any other "
        "is reported as drift.",
        examples=[["22/tcp", "51820/udp"]],
    )
    extra_checks: list[Check] = Field(
        default_factory=list,
        description="Health checks of the host beside those built in.",
        examples=[[{"kind": "disk", "name": "disk-free", "free_mb": 2000, "required": False}]],
    )
    backup_repository: Annotated[str, Field(min_length=1)] = Field(
        default="/var/backups/stackpin/infracore/restic",
        description="restic repository: a path on the host, or sftp:, s3:, rest: and others.",
        examples=["sftp:backup@backup.example.org:/infracore"],
    )
    min_cpus: Cpus = Field(default=2, description="Processors preflight asks for.")
    min_memory_mb: Mib = Field(default=4096, description="Memory of the host, in MiB.")
    min_disk_mb: Mib = Field(default=20480, description="Free disk space, in MiB.")
    recommended: Recommended = Field(
        default=Recommended(cpus=4, memory_mb=8192, disk_mb=51200),
        description="What the host had better have: `cpus`, `memory_mb`, `disk_mb`; less is a "
        "warning.",
        examples=[{"cpus": 8, "memory_mb": 16384, "disk_mb": 102400}],
    )
