"""What the server's host and a node share of XingRin's settings."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import field_validator, model_validator

from stackpin.config import xingrin_checks, xingrin_env
from stackpin.config.checks import Check, distinct_names
from stackpin.config.common import SecretUse, StackSettings
from stackpin.config.needs import VERSIONS
from stackpin.config.problems import invalid
from stackpin.config.xingrin_fields import (
    FleetFields,
    ImageFields,
    NodeFields,
    ServerFields,
)
from stackpin.config.xingrin_images import XingrinImages

__all__ = ["LOCAL_DATABASES", "XingrinBase"]

LOCAL_DATABASES = frozenset({"postgres", "localhost", "127.0.0.1"})


class XingrinBase(StackSettings, FleetFields, NodeFields, ServerFields, ImageFields, XingrinImages):
    """Every variable; the server's host and a node each use their own part of them."""

    prefix: ClassVar[str] = "xingrin_"
    own_env: ClassVar[Mapping[str, str]] = xingrin_env.OWN
    hidden: ClassVar[frozenset[str]] = frozenset({"env", "secret_env", "backup_env"})

    @field_validator("extra_checks")
    @classmethod
    def _differ(cls, value: list[Check]) -> list[Check]:
        distinct_names([*xingrin_checks.slot(), *xingrin_checks.host(8083), *value])
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.local_database and self.db_port != 5432:
            raise invalid(
                "xingrin_db_port 5432 for a database in a container: the product uses the number "
                "inside the network too, where it is always 5432",
                "Remove xingrin_db_port, or name a remote xingrin_db_host.",
            )
        if not self.local_database and self.db_password is None:
            raise invalid(
                f"xingrin_db_password: {self.db_host} is a remote database, whose password cannot "
                "be made up here",
                'Set it to a reference such as "env:XINGRIN_DB_PASSWORD".',
            )
        if self.dev and self.shared.production:
            raise invalid(
                "xingrin_dev False, because stackpin_production is True", "Remove xingrin_dev."
            )
        return self

    @property
    def local_database(self) -> bool:
        """Whether the database is a container of this stack."""
        return self.db_host in LOCAL_DATABASES

    @property
    def server_url(self) -> str:
        """Where nodes reach the server."""
        name = self.public_host
        try:
            if ipaddress.ip_address(name).version == 6:
                name = f"[{name}]"
        except ValueError:
            pass
        return f"https://{name}:{self.public_port}"

    def own_images(self) -> dict[str, str]:
        """Those of `images` that this host runs or starts."""
        return self.images()

    def registry_secrets(self) -> list[SecretUse]:
        """List the registry's password, when there is one."""
        if self.registry_password is None:
            return []
        return [SecretUse("xingrin_registry_password", self.registry_password)]

    def shared_stack(self, stack: str) -> dict[str, Any]:
        """Return what both kinds of host are told alike."""
        return {
            "stack": stack,
            "user": "root",
            "opt": f"/opt/{stack}",
            "data": f"/var/lib/{stack}",
            "guard_seconds": self.guard_seconds,
            "drain_seconds": self.drain_seconds,
            "start_timeout": self.start_timeout,
            "rehearsal": self.rehearsal,
            "keep_releases": self.keep_releases,
            "gate": self.gate,
        }

    def needs(self, artifact_bytes: int = 0) -> dict[str, Any]:
        """Say what the host must offer, as the host's `preflight` reads it."""
        return {
            "disk_mb": self.min_disk_mb,
            "memory_mb": self.min_memory_mb,
            # docker itself holds the published ports, before and after a switch
            "ports": [],
            "paths": ["/opt", "/var/lib", "/etc/systemd/system"],
            "repo_root": None,
            "repo_create": False,
            "database": None,
            "web_user": None,
            "artifact_bytes": artifact_bytes,
            "commands": ["python3", "systemctl", "ss"],
            "versions": {"docker": VERSIONS["docker"]},
            "docker": True,
        }
