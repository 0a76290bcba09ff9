"""XingRin's variables (xingrin_*): the server's host, its nodes, and what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stackpin.config import xingrin_checks, xingrin_env
from stackpin.config.checks import BaseCheck, Where
from stackpin.config.common import Resolve, SecretUse
from stackpin.config.hoststack import (
    Backup,
    Compose,
    Container,
    HostStack,
    Listeners,
    Postgres,
    Redis,
    Schema,
)
from stackpin.config.needs import VERSIONS
from stackpin.config.xingrin_base import XingrinBase
from stackpin.config.xingrin_images import NODE_ROLES

__all__ = [
    "AGENT",
    "NETWORK",
    "POSTGRES_PORT",
    "REDIS_PORT",
    "SERVER_PORT",
    "XingrinBase",
    "XingrinServer",
    "XingrinWorker",
]

AGENT = "xingrin-agent"  # the container's name on server and nodes: the product stops it by name
NETWORK = "xingrin_network"  # the product starts task containers in the network of this name
SERVER_PORT = 8888
POSTGRES_PORT = 5432
REDIS_PORT = 6379


class XingrinServer(XingrinBase):
    """Settings of the server's host. Get one from `load(XingrinServer, "xingrin_", ...)`."""

    def checks(self, where: Where | None = None) -> list[BaseCheck]:
        """List checks of the server's container, of nginx and the extra ones."""
        front = xingrin_checks.host(self.public_port) if self.frontend else []
        every: list[BaseCheck] = [*xingrin_checks.slot(), *front, *self.extra_checks]
        return [check for check in every if where in (None, check.where)]

    def services(self, *, nodes: bool) -> tuple[list[str], list[str]]:
        """Return (services up before the server, services that follow it).

        Without the interface nginx stays only for nodes: they reach the API through it.
        """
        depend = [*(["postgres"] if self.local_database else []), "redis"]
        front = [*(["frontend"] if self.frontend else []), "agent"]
        return depend, [*front, *(["nginx"] if self.frontend or nodes else [])]

    def published(self, front: Sequence[str]) -> list[str]:
        """List the ports Docker publishes, with these services in front of the server."""
        database = [f"{self.db_port}/tcp"] if self.local_database else []
        edge = [f"{self.public_port}/tcp"] if "nginx" in front else []
        return [*database, f"{REDIS_PORT}/tcp", *edge]

    def host_stack(
        self,
        resolve: Resolve | None = None,
        *,
        nodes: bool = False,
        images: dict[str, str] | None = None,
    ) -> HostStack:
        """Say what the host is told; without `resolve` secrets of a backup repository stay out.

        `nodes`: whether machines beside this one are served. `images` are the pinned ones by role.
        """
        env = self.backup_env if resolve else {}
        depend, front = self.services(nodes=nodes)
        checks: Sequence[BaseCheck] = self.checks()
        if not self.frontend and nodes:
            checks = [*checks, *xingrin_checks.host(self.public_port)]
        return HostStack(
            **self.shared_stack("xingrin-server"),
            kind="compose",
            listeners=Listeners(allowed=sorted({*self.listeners_allowed, *self.published(front)})),
            overlap=self.overlap,
            checks=[c.as_json() for c in checks if c.where != "public"],
            env_files=["/etc/stackpin/xingrin-server/secrets.env"],
            compose=Compose(
                project=self.project,
                slot_service="server",
                depend=depend,
                front=front,
                reload={"nginx": ["nginx", "-s", "reload"]} if "nginx" in front else {},
                port=SERVER_PORT,
            ),
            postgres=Postgres(
                service="postgres" if self.local_database else None,
                host="postgres" if self.local_database else self.db_host,
                port=self.db_port,
                name=self.db_name,
                user=self.db_user,
                image=(images or {}).get("postgres"),
                network=NETWORK,
            ),
            redis=Redis(),
            schema=Schema(
                command=self.schema_command, step=(self.schema_step or {}).get(self.version)
            ),
            backup=Backup(
                repository=self.backup_repository,
                keep_last=self.backup_keep_last,
                keep_daily=self.backup_keep_daily,
                # The secrets made here go with the data: without them no copy could be used.
                paths=["/etc/stackpin/xingrin-server/secrets.env"],
                env={n: resolve(r).get_secret_value() for n, r in env.items() if resolve},
            ),
        )

    def environment(self, resolve: Resolve) -> dict[str, str]:
        """Environment of the server's container, but for what is made on the host.

        Given secrets are in clear: never log it. They override what was made on the host.
        """
        clear = {
            **xingrin_env.FIXED,
            "DB_HOST": "postgres" if self.local_database else self.db_host,
            "DB_PORT": str(self.db_port),
            "DB_NAME": self.db_name,
            "DB_USER": self.db_user,
            "PUBLIC_HOST": self.public_host,
            "PUBLIC_PORT": str(self.public_port),
            "DEBUG": str(self.dev),
            "LOG_LEVEL": "DEBUG" if self.dev else "INFO",
            "CORS_ALLOWED_ORIGINS": self.server_url,
            "DOCKER_USER": self.docker_user,
            "IMAGE_TAG": self.image_tag,
            # Told in so many words: what the product makes up goes stale after a dev install.
            "TASK_EXECUTOR_IMAGE": f"{self.repository('worker')}:{self.image_tag}",
            **self.env,
        }
        given = {
            "DB_PASSWORD": self.db_password,
            "SECRET_KEY": self.secret_key,
            "DJANGO_SECRET_KEY": self.secret_key,
            "ADMIN_PASSWORD": self.admin_password,
            **self.secret_env,
        }
        found = {n: resolve(ref).get_secret_value() for n, ref in given.items() if ref is not None}
        return clear | found

    def secrets(self) -> list[SecretUse]:
        """Every secret these settings refer to."""
        named = {
            "xingrin_db_password": self.db_password,
            "xingrin_secret_key": self.secret_key,
            "xingrin_admin_password": self.admin_password,
            "xingrin_backup_password": self.backup_password,
            **{f"xingrin_secret_env[{n!r}]": r for n, r in self.secret_env.items()},
            **{f"xingrin_backup_env[{n!r}]": r for n, r in self.backup_env.items()},
        }
        uses = [SecretUse(name, ref) for name, ref in named.items() if ref is not None]
        return [*self.registry_secrets(), *uses]

    def secret_needs(self, resolve: Resolve) -> dict[str, Any]:
        """Login of a remote database, tried before anything is changed."""
        if self.local_database or self.db_password is None:
            return {}
        return {
            "postgres": {
                "image": self.postgres_image,
                "host": self.db_host,
                "port": self.db_port,
                "name": self.db_name,
                "user": self.db_user,
                "password": resolve(self.db_password).get_secret_value(),
            }
        }

    def needs(self, artifact_bytes: int = 0) -> dict[str, Any]:
        """Say what the host must offer: for Compose and backups, too."""
        versions = {name: VERSIONS[name] for name in ("docker", "compose", "restic")}
        return {**super().needs(artifact_bytes), "versions": versions}


class XingrinWorker(XingrinBase):
    """Settings of a node. Get one from `load(XingrinWorker, "xingrin_", ...)`."""

    def own_images(self) -> dict[str, str]:
        """Return the agent it runs, and the image of the tasks the server starts on it."""
        return {role: ref for role, ref in self.images().items() if role in NODE_ROLES}

    def checks(self, where: Where | None = None) -> list[BaseCheck]:  # noqa: ARG002
        """List none: an agent listens nowhere; its heartbeat is asked of the server."""
        return []

    def host_stack(self, resolve: Resolve | None = None) -> HostStack:  # noqa: ARG002
        """Say what the host is told; no part of it is secret."""
        return HostStack(
            **self.shared_stack("xingrin-worker"),
            kind="container",
            listeners=Listeners(allowed=sorted(self.listeners_allowed)),
            overlap=False,  # one node, one heartbeat: two agents would answer for each other
            container=Container(name=AGENT),
            env_files=["/etc/stackpin/xingrin-worker/node.env"],
            heartbeat_seconds=self.heartbeat_ttl,
        )

    def needs(self, artifact_bytes: int = 0) -> dict[str, Any]:
        """Say what the host must offer: the agent's name too, which is not ours to choose."""
        return {**super().needs(artifact_bytes), "container": AGENT}

    def environment(self) -> dict[str, str]:
        """Environment of the agent, but for the WORKER_ID its registration gives it."""
        return {"SERVER_URL": self.server_url, "IMAGE_TAG": self.image_tag}

    def secrets(self) -> list[SecretUse]:
        """List the registry's password."""
        return self.registry_secrets()
