"""Variables that several stacks have, under their own prefix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from stackpin.config.added_env import judge, require_no_password
from stackpin.config.hoststack import Gate, require_time
from stackpin.config.problems import invalid
from stackpin.config.types import LocalPath, Model, PackageSpec, SecretRef
from stackpin.config.xingrin_types import DOCKER_HUB, MirrorUrl, Namespace, RegistryName

__all__ = ["AddedFields", "RegistryFields", "RolloutFields"]


class RolloutFields(Model):
    """How a switch is judged, and how many releases stay."""

    prefix: ClassVar[str]

    gate: Gate = Field(
        default_factory=Gate,
        description="When a slot counts as healthy.",
        examples=[{"min_healthy": 20.0, "timeout": 120.0}],
    )
    guard_seconds: Annotated[float, Field(ge=20, le=3600, allow_inf_nan=False)] = Field(
        default=90.0,
        description="The host goes back by itself unless confirmed in this many seconds.",
    )
    drain_seconds: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = Field(
        default=10.0, description="Seconds the old slot may take to finish its open connections."
    )
    start_timeout: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = Field(
        default=60.0, description="Seconds until a slot that does not listen has failed to start."
    )
    rehearsal: bool = Field(
        default=True, description="First start each new release against a copy of the database."
    )
    keep_releases: Annotated[int, Field(ge=2, le=100)] = Field(
        default=5,
        description="Releases kept on the host; the live and the last good one always stay.",
    )

    @field_validator("guard_seconds")
    @classmethod
    def _in_time(cls, value: float, info: ValidationInfo) -> float:
        require_time(cls.prefix, value, info.data.get("gate"))
        return value


class AddedFields(Model):
    """Environment beside the stack's own, and where its backups go."""

    prefix: ClassVar[str]
    own_env: ClassVar[Mapping[str, str]]  # variable of the service -> the setting it has already

    env: dict[str, str] = Field(
        default_factory=dict,
        description="Further environment variables of the service. No secrets.",
        examples=[{"LOG_FORMAT": "json"}],
    )
    secret_env: dict[str, SecretRef] = Field(
        default_factory=dict,
        description="Further environment variables whose values are secrets.",
        examples=[{"MAIL_PASSWORD": "file:~/.secrets/mail"}],
    )
    backup_repository: Annotated[str, Field(min_length=1)] = Field(
        description="restic repository: a path on the host, or sftp:, s3:, rest: and others.",
        examples=["sftp:backup@backup.example.org:/stack"],
    )
    backup_password: SecretRef | None = Field(
        default=None,
        description="Password of the repository. None: made on the host and kept there.",
        examples=["file:~/.secrets/backup"],
    )
    backup_env: dict[str, SecretRef] = Field(
        default_factory=dict,
        description="Environment restic needs for a remote repository.",
        examples=[{"AWS_SECRET_ACCESS_KEY": "env:BACKUP_S3_KEY"}],
    )
    backup_keep_last: Annotated[int, Field(ge=1, le=10000)] = Field(
        default=10, description="Newest backups kept."
    )
    backup_keep_daily: Annotated[int, Field(ge=0, le=10000)] = Field(
        default=14, description="Days of which the last backup is kept."
    )

    @field_validator("env", "secret_env", "backup_env")
    @classmethod
    def _names(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        judge(cls.prefix, cls.own_env, str(info.field_name), value)
        return value

    @field_validator("backup_repository")
    @classmethod
    def _no_password(cls, value: str) -> str:
        require_no_password(cls.prefix, value)
        return value


class RegistryFields(Model):
    """Where images come from, and what locks them."""

    prefix: ClassVar[str]

    lock_file: LocalPath | None = Field(
        default=None,
        description="File that locks each tag to its digests, relative to the repository. "
        "`stackpin pin` and `update` write it; without one no image is deployed.",
        examples=["inventories/prod.lock.toml"],
    )
    registry: RegistryName = Field(
        default=DOCKER_HUB,
        description="Registry of the images, host:port.",
        examples=["10.0.0.5:5000"],
    )
    namespace: Namespace = Field(description="Folder of the images in the registry.")
    registry_username: str | None = Field(
        default=None, description="User of the registry. None: no login.", examples=["deploy"]
    )
    registry_password: SecretRef | None = Field(
        default=None, description="Password of that user.", examples=["env:REGISTRY_PASSWORD"]
    )
    registry_ca: LocalPath | None = Field(
        default=None,
        description="Certificate (PEM) of the authority that signed the registry's; hosts get it.",
        examples=["tls/registry-ca.crt"],
    )
    registry_mirrors: list[MirrorUrl] = Field(
        default_factory=list,
        description="Mirrors of docker.io: docker tries them first, Stackpin only when docker.io "
        "does not answer.",
        examples=[["https://mirror.example.org"]],
    )
    docker_packages: list[PackageSpec] = Field(
        default_factory=lambda: ["docker.io", "docker-cli", "docker-compose"],
        description="Packages of docker and of Compose v2, installed where missing.",
        examples=[["docker-ce", "docker-ce-cli", "docker-compose-plugin"]],
    )

    @model_validator(mode="after")
    def _login(self) -> Self:
        if (self.registry_username is None) != (self.registry_password is None):
            raise invalid(
                f"{self.prefix}registry_username and {self.prefix}registry_password together, or "
                "neither",
                "Set the other one too.",
            )
        return self
