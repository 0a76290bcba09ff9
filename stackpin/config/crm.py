"""The CRM's variables (crm_*), and what follows from them: environments, checks, host's stack."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from stackpin.config import crm_checks
from stackpin.config.checks import BaseCheck, Check, Where, distinct_names
from stackpin.config.common import Also, PublicEdge, Resolve, SecretUse, Shared, StackSettings
from stackpin.config.crm_env import ENV, OWN
from stackpin.config.envfile import unwritable
from stackpin.config.fields import AddedFields, RolloutFields
from stackpin.config.hoststack import Backup, HostStack, Listeners
from stackpin.config.needs import VERSIONS
from stackpin.config.problems import invalid
from stackpin.config.sources import FileSource, Source
from stackpin.config.types import (
    AbsPath,
    Duration,
    LocalPath,
    ReleaseTag,
    SecretRef,
    Sha256,
    UserName,
)
from stackpin.config.upstream import CrmUpstream

__all__ = ["CrmSettings", "CrmUpstream", "Slot"]

Slot = Literal["blue", "green", "rehearsal"]


class CrmSettings(StackSettings, AddedFields, RolloutFields, CrmUpstream):
    """Settings of the CRM. Get one from `load(CrmSettings, "crm_", data, host)`."""

    prefix: ClassVar[str] = "crm_"
    own_env: ClassVar[Mapping[str, str]] = OWN

    also: ClassVar[dict[str, Also]] = {
        "shared": Also("stackpin_", Shared, frozenset()),
        "edge": Also("portal_", PublicEdge, frozenset()),
    }
    hidden: ClassVar[frozenset[str]] = frozenset({"env", "secret_env", "backup_env"})

    edge: PublicEdge = PublicEdge()

    version: ReleaseTag = Field(
        description="The release to run: the pin. `stackpin update` bumps it in place.",
        examples=["v1.0.0"],
    )
    artifact: LocalPath | Source = Field(
        default="artifacts/crm/crm-{version}.pyz",
        description="The executable, relative to the repository, or a source that has it as its "
        "one output; {version} is the pin.",
        examples=["artifacts/crm/server-{version}"],
    )
    artifact_sha256: Sha256 | None = Field(
        default=None,
        description="SHA-256 of an artifact that is a path. None: SHA256SUMS beside it must "
        "list it.",
        examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
    )
    admin_token: SecretRef = Field(
        description="Bearer token of the API, which also signs session cookies.",
        examples=["env:CRM_ADMIN_TOKEN"],
    )
    admin_username: str = Field(default="admin", description="User of the admin portal.")
    admin_password: SecretRef | None = Field(
        default=None,
        description="Password of the admin portal. None: the token serves as password.",
        examples=["command:pass show crm/admin"],
    )
    admin_session_ttl: Duration = Field(
        default="12h", description="How long a browser stays logged in.", examples=["8h"]
    )
    user: UserName = Field(default="crm", description="The service's Unix user.")
    repo_root: AbsPath = Field(
        default="/srv/crm/repo",
        description="Git work tree on the host into which providers are published.",
        examples=["/srv/relay-manager-packs"],
    )
    repo_create: bool = Field(
        default=False,
        description="Make the repository when it is absent; otherwise that is refused.",
    )
    overlap: bool = Field(
        default=True,
        description="Run both slots during a switch. False stops the old before the new.",
    )
    extra_checks: list[Check] = Field(
        default_factory=list,
        description="Health checks beside the seven built in (see the page on checks).",
        examples=[[{"kind": "disk", "name": "disk", "free_mb": 500, "required": False}]],
    )
    backup_repository: Annotated[str, Field(min_length=1)] = Field(
        default="/var/backups/stackpin/crm/restic",
        description="restic repository: a path on the host, or sftp:, s3:, rest: and others.",
        examples=["sftp:backup@backup.example.org:/crm"],
    )
    min_disk_mb: Annotated[int, Field(ge=1)] = Field(
        default=512, description="Free disk space preflight asks for, in MiB."
    )
    min_memory_mb: Annotated[int, Field(ge=1)] = Field(
        default=128, description="Available memory preflight asks for, in MiB."
    )

    @field_validator("artifact")
    @classmethod
    def _template(cls, value: str | Source) -> str | Source:
        if isinstance(value, str) and re.search(r"[{}]", value.replace("{version}", "")):
            raise invalid("no placeholder but {version}", "Remove the other braces.")
        return value

    @field_validator("artifact_sha256")
    @classmethod
    def _of_a_path(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value and not isinstance(info.data.get("artifact", ""), str):
            raise invalid("no digest beside a source", "Write it into crm_artifact as sha256=.")
        return value

    @field_validator("admin_username")
    @classmethod
    def _login(cls, value: str) -> str:
        if not value.strip() or unwritable(value):
            raise invalid("a user name without control characters", "Name one.")
        return value

    @field_validator("extra_checks")
    @classmethod
    def _differ(cls, value: list[Check]) -> list[Check]:
        distinct_names([*crm_checks.slot(), *crm_checks.public("https://name"), *value])
        return value

    @property
    def database(self) -> str:
        """The live SQLite database on the host."""
        return "/var/lib/crm/data/crm.db"

    def source(self) -> Source:
        """Where the executable comes from."""
        if isinstance(self.artifact, str):
            return FileSource(path=self.artifact, sha256=self.artifact_sha256)
        return self.artifact

    def environment(self, resolve: Resolve) -> dict[str, str]:
        """Environment of the release, the same for every slot. Secrets in clear: never log it."""
        clear = {
            f"{ENV}ADMIN_TOKEN": resolve(self.admin_token).get_secret_value(),
            f"{ENV}ADMIN_USERNAME": self.admin_username,
            f"{ENV}ADMIN_SESSION_TTL": self.admin_session_ttl,
            f"{ENV}REPO_ROOT": self.repo_root,
            **self.env,
        }
        if self.admin_password is not None:
            clear[f"{ENV}ADMIN_PASSWORD"] = resolve(self.admin_password).get_secret_value()
        for name, ref in self.secret_env.items():
            clear[name] = resolve(ref).get_secret_value()
        return clear

    def slot_env(self, slot: Slot) -> dict[str, str]:
        """Environment of one slot, read after the release's: address and database, no secrets.

        The rehearsal works on the copies in /var/lib/crm/rehearsal.
        """
        copy = slot == "rehearsal"
        database = "/var/lib/crm/rehearsal/crm.db" if copy else self.database
        found = {
            f"{ENV}LISTEN_ADDR": f"127.0.0.1:{getattr(self.ports, slot)}",
            f"{ENV}SQLITE_DSN": f"file:{database}?_foreign_keys=on&_busy_timeout=5000",
        }
        if copy:
            found[f"{ENV}REPO_ROOT"] = "/var/lib/crm/rehearsal/repo"
        return found

    def checks(self, where: Where | None = None) -> list[BaseCheck]:
        """List the seven answers and the extra checks, or those of one place."""
        public = crm_checks.public(self.public_url) if self.public_url else []
        every: list[BaseCheck] = [*crm_checks.slot(), *public, *self.extra_checks]
        return [check for check in every if where in (None, check.where)]

    def host_stack(self, resolve: Resolve | None = None) -> HostStack:
        """Say what the host is told; without `resolve` secrets of a backup repository stay out."""
        env = self.backup_env if resolve else {}
        return HostStack(
            stack="crm",
            user=self.user,
            opt="/opt/crm",
            data="/var/lib/crm",
            ports=self.ports,
            database=self.database,
            repo_root=self.repo_root,
            overlap=self.overlap,
            guard_seconds=self.guard_seconds,
            drain_seconds=self.drain_seconds,
            start_timeout=self.start_timeout,
            rehearsal=self.rehearsal,
            keep_releases=self.keep_releases,
            gate=self.gate,
            checks=[c.as_json() for c in self.checks() if c.where != "public"],
            listeners=Listeners(allowed=self.edge.allowed()),
            backup=Backup(
                repository=self.backup_repository,
                keep_last=self.backup_keep_last,
                keep_daily=self.backup_keep_daily,
                paths=[self.repo_root],
                env={n: resolve(r).get_secret_value() for n, r in env.items() if resolve},
            ),
        )

    def needs(self, artifact_bytes: int = 0) -> dict[str, Any]:
        """Say what the host must offer, as the host's `preflight` reads it."""
        return {
            "disk_mb": self.min_disk_mb,
            "memory_mb": self.min_memory_mb,
            "ports": self.ports.as_list(),
            "paths": ["/opt", "/var/lib", "/etc/systemd/system"],
            "repo_root": self.repo_root,
            "repo_create": self.repo_create,
            "database": self.database,
            "web_user": "www-data",
            "artifact_bytes": artifact_bytes,
            "commands": ["python3", "systemctl", "systemd-run", "ss", "git"],
            "versions": {name: VERSIONS[name] for name in ("git", "restic")},
        }

    def secrets(self) -> list[SecretUse]:
        """Every secret these settings refer to."""
        uses = [SecretUse("crm_admin_token", self.admin_token)]
        if self.admin_password:
            uses.append(SecretUse("crm_admin_password", self.admin_password))
        if self.backup_password:
            uses.append(SecretUse("crm_backup_password", self.backup_password))
        uses += [SecretUse(f"crm_secret_env[{n!r}]", r) for n, r in self.secret_env.items()]
        uses += [SecretUse(f"crm_backup_env[{n!r}]", r) for n, r in self.backup_env.items()]
        return uses
