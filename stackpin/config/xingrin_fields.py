"""The variables xingrin_*: the same names for the server's host and for its nodes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stackpin.config.checks import Check
from stackpin.config.fields import AddedFields, RegistryFields, RolloutFields
from stackpin.config.hoststack import Gate
from stackpin.config.types import (
    AbsPath,
    HostName,
    Listener,
    LocalPath,
    Model,
    Port,
    ReleaseTag,
    SecretRef,
)
from stackpin.config.xingrin_types import (
    ImageTag,
    Namespace,
    Network,
    NodeName,
    ProjectName,
    SqlName,
)

Argv = Annotated[list[str], Field(min_length=1)]


class ImageFields(RegistryFields):
    """Which images, from which registry."""

    version: ReleaseTag = Field(
        description="The release the whole fleet runs: the pin. `stackpin update` bumps it.",
        examples=["v1.2.0"],
    )
    namespace: Namespace = Field(
        default="yyhuni", description="Folder of the five images in the registry."
    )
    redis_image: ImageTag = Field(
        default="redis:7-alpine", description="Image of the queue and of the heartbeats."
    )
    postgres_image: ImageTag = Field(
        default="postgres:15",
        description="Image of the database; with a remote one only its tools are used.",
    )
    dev: bool = Field(
        default=False,
        description="Run images whose tag ends in -dev, with DEBUG on. Not for production.",
    )


class ServerFields(Model):
    """What runs on the server's host, and how it is reached."""

    public_host: HostName = Field(
        default="server",
        description="Name or address under which nodes reach the server; in its certificate. "
        "With nodes on other machines it must not be server, localhost or a loopback address.",
        examples=["10.0.0.10"],
    )
    public_port: Port = Field(default=8083, description="HTTPS port of interface and API.")
    public_ca: LocalPath | None = Field(
        default=None,
        description="Certificates (PEM) registration trusts. None: any, as the agent itself does.",
        examples=["tls/xingrin.crt"],
    )
    allow: list[Network] = Field(
        default_factory=list,
        description="Who may reach API, database and queue beside the nodes; all others are "
        "dropped by the host's firewall.",
        examples=[["192.0.2.0/24"]],
    )
    frontend: bool = Field(
        default=True,
        description="False leaves out the interface, and nginx too when there are no nodes.",
    )
    db_host: HostName = Field(
        default="postgres",
        description="postgres, localhost or 127.0.0.1: a container here. Else a remote server.",
        examples=["db.example.org"],
    )
    db_port: Port = Field(default=5432, description="Its port; 5432 for the container.")
    db_name: SqlName = Field(default="xingrin", description="Name of the database.")
    db_user: SqlName = Field(default="postgres", description="Its user.")
    db_password: SecretRef | None = Field(
        default=None,
        description="Its password. None: made on the host and kept; a remote server needs one.",
        examples=["env:XINGRIN_DB_PASSWORD"],
    )
    secret_key: SecretRef | None = Field(
        default=None,
        description="Django's SECRET_KEY. None: made on the host and kept there.",
        examples=["env:XINGRIN_SECRET_KEY"],
    )
    admin_password: SecretRef | None = Field(
        default=None,
        description="Password of the first user, admin. None: the product's own, admin.",
        examples=["env:XINGRIN_ADMIN_PASSWORD"],
    )
    project: ProjectName = Field(
        default="xingrin", description="Compose project: prefix of its containers and volumes."
    )
    schema_command: Argv | None = Field(
        default_factory=lambda: [
            "sh",
            "-c",
            "python manage.py makemigrations && python manage.py migrate --noinput",
        ],
        description="Makes the release's tables in an empty database, run in the server's image; "
        "compared with the live database before an update. None: not compared.",
        examples=[["python", "manage.py", "migrate"]],
    )
    schema_step: dict[str, Argv] | None = Field(
        default=None,
        description="Per version, what changes the live database's tables, run in its image.",
        examples=[{"v1.6.0": ["python", "manage.py", "schema-step"]}],
    )


class NodeFields(Model):
    """What differs from node to node."""

    node_name: NodeName | None = Field(
        default=None,
        description="Name under which the node is registered. None: its name in the inventory.",
        examples=["scan-1"],
    )
    node_address: HostName | None = Field(
        default=None,
        description="Address it is registered with, and let through the server's firewall. "
        "None: the address of its SSH.",
        examples=["10.0.0.21"],
    )
    data_dir: AbsPath = Field(
        default="/opt/xingrin", description="Where results and logs lie, on server and nodes."
    )
    heartbeat_ttl: Annotated[float, Field(ge=5, le=3600, allow_inf_nan=False)] = Field(
        default=15.0, description="Seconds without a heartbeat after which a node is offline."
    )
    lock_backend: Literal["host", "redis"] = Field(
        default="host",
        description='Where `workers watch` takes its lease: the node ("host") or the product\'s '
        'own lock in Redis ("redis").',
    )


class FleetFields(AddedFields, RolloutFields):
    """How a switch is judged, and what is kept."""

    listeners_allowed: list[Listener] = Field(
        default_factory=lambda: ["22/tcp"],
        description="Ports which may listen on public addresses of server and nodes, beside those "
        "the server publishes; any other is reported as drift.",
        examples=[["22/tcp", "51820/udp"]],
    )
    overlap: bool = Field(
        default=True,
        description="Run both servers during a switch. False stops the old before the new. "
        "An agent is always replaced after the old one stopped.",
    )
    rehearsal: bool = Field(
        default=True, description="First pull, and compare tables, before anything is switched."
    )
    gate: Gate = Field(
        default_factory=lambda: Gate(timeout=120.0),
        description="When a server or an agent counts as healthy.",
        examples=[{"min_healthy": 20.0, "timeout": 180.0}],
    )
    guard_seconds: Annotated[float, Field(ge=20, le=3600, allow_inf_nan=False)] = Field(
        default=120.0,
        description="The host goes back by itself unless confirmed in this many seconds.",
    )
    drain_seconds: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = Field(
        default=10.0,
        description="Seconds the old server's open connections are waited for, and an old agent "
        "may take to stop.",
    )
    start_timeout: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = Field(
        default=120.0, description="Seconds until a server that does not listen has failed."
    )
    extra_checks: list[Check] = Field(
        default_factory=list,
        description="Health checks of the server beside those built in.",
        examples=[[{"kind": "disk", "name": "disk", "free_mb": 2000, "required": False}]],
    )
    backup_repository: Annotated[str, Field(min_length=1)] = Field(
        default="/var/backups/stackpin/xingrin-server/restic",
        description="restic repository: a path on the host, or sftp:, s3:, rest: and others.",
        examples=["sftp:backup@backup.example.org:/xingrin"],
    )
    min_disk_mb: Annotated[int, Field(ge=1)] = Field(
        default=2048, description="Free disk space preflight asks for beside the images, in MiB."
    )
    min_memory_mb: Annotated[int, Field(ge=1)] = Field(
        default=256, description="Available memory preflight asks for, in MiB."
    )
