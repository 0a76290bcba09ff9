"""InfraCore's variables (infracore_*): its parts, and what each host is told of them."""

from __future__ import annotations

from typing import Any, ClassVar

from stackpin.config import infracore_checks
from stackpin.config.checks import BaseCheck, Where
from stackpin.config.common import Resolve, SecretUse
from stackpin.config.hoststack import Backup, Compose, HostStack, Listeners, SlotPorts, Static
from stackpin.config.infracore_base import InfracoreBase
from stackpin.config.infracore_checks import PARTS
from stackpin.config.infracore_env import JWT, PORT
from stackpin.config.infracore_types import (
    DATA,
    ETC,
    HOME,
    LOGS,
    METRICS,
    REHEARSALS,
    SECRETS,
    SERVICES,
    SITE,
    SITE_LINK,
    Service,
    Slot,
)
from stackpin.config.portal import TlsFiles
from stackpin.config.sources import Source

__all__ = [
    "FILES",
    "PARTS",
    "InfracoreBase",
    "InfracoreConsole",
    "InfracoreFiles",
    "InfracoreGate",
    "InfracoreOrchestrator",
    "InfracoreProbe",
    "InfracoreService",
    "InfracoreSnap",
]

FILES = "infracore-files"  # the part that keeps the data of all


class InfracoreFiles(InfracoreBase):
    """Configuration, interface, site, account, secrets, and the backups of all parts."""

    def source(self) -> Source:
        """Where the interface comes from, in both modes."""
        return self.artifact

    def output(self) -> str:
        """Name the interface: all below it is shipped."""
        return "ui/dist"

    def checks(self, where: Where | None = None) -> list[BaseCheck]:  # noqa: ARG002
        """List none: files serve nothing by themselves; the last part judges the whole."""
        return []

    def listeners(self) -> list[str]:
        """List what may listen on public addresses: "443/tcp"."""
        ports = {self.ports.gate, *(self.public_port(name) for name in self.expose)}
        if self.tls is not None:
            ports.add(self.ports.gate_tls)
        for service in SERVICES:
            # The product lets only console choose its address.
            if service != "console":
                ports.update(self.slot_ports(service).as_list())
        own = self.slot_ports("gate").as_list()
        ports.update(port + METRICS for port in own)
        return sorted({*self.listeners_allowed, *(f"{port}/tcp" for port in ports)})

    def host_stack(self, resolve: Resolve | None = None) -> HostStack:
        """Say what the host is told; without `resolve` secrets of a backup repository stay out."""
        env = self.backup_env if resolve else {}
        return HostStack(
            **self.shared_stack(),
            stack=FILES,
            kind="static",
            user=self.user,
            opt=HOME,
            data=self.data_dir,
            database=self.database,
            rehearsal=False,
            listeners=Listeners(allowed=self.listeners()),
            static=Static(root=HOME, link="current"),
            members=list(PARTS.values()),
            owned=[SITE_LINK, SITE, ETC, LOGS, REHEARSALS],
            backup=Backup(
                repository=self.backup_repository,
                keep_last=self.backup_keep_last,
                keep_daily=self.backup_keep_daily,
                paths=[ETC, self.config.snap.repo_dir.replace(DATA, self.data_dir, 1)],
                env={n: resolve(r).get_secret_value() for n, r in env.items() if resolve},
            ),
        )

    def needs(self, artifact_bytes: int = 0) -> dict[str, Any]:
        """Say what the host must offer to InfraCore as a whole, minimum and recommended."""
        web = [self.public_port(name) for name in SERVICES if self.overlaps(name)]
        return {
            **super().needs(artifact_bytes),
            "cpus": self.min_cpus,
            "memory_total_mb": self.min_memory_mb,
            "disk_mb": self.min_disk_mb,
            "recommended": self.recommended.model_dump(),
            "ports": [*web, *([self.ports.gate_tls] if self.tls is not None else [])],
            "database": self.database,
        }

    def secrets(self) -> list[SecretUse]:
        """List the certificate's key and what the backup repository needs."""
        uses = []
        if isinstance(self.tls, TlsFiles):
            uses.append(SecretUse("infracore_tls['key']", self.tls.key, multiline=True))
        if self.backup_password is not None:
            uses.append(SecretUse("infracore_backup_password", self.backup_password))
        return uses + [
            SecretUse(f"infracore_backup_env[{name!r}]", ref)
            for name, ref in self.backup_env.items()
        ]


class InfracoreService(InfracoreBase):
    """One of the five services: its slots, its environment, its checks."""

    service: ClassVar[Service]

    def source(self) -> Source | None:
        """Where the executable comes from; None where the service is a container."""
        return self.artifact if self.mode == "systemd" else None

    def output(self) -> str:
        """Name the executable."""
        return f"bin/{self.service}"

    @property
    def part(self) -> str:
        """Name of the part, "infracore-gate"."""
        return PARTS[self.service]

    @property
    def opt(self) -> str:
        """Directory of its releases and slots."""
        return f"{HOME}/services/{self.service}"

    @property
    def rehearsals(self) -> str:
        """Directory of what its rehearsal works on, a copy of the database."""
        return f"{REHEARSALS}/{self.service}/rehearsal"

    @property
    def ports_of_slots(self) -> dict[Slot, int]:
        """Port by slot; without overlap blue and green have the same."""
        ports = self.slot_ports(self.service)
        if isinstance(ports, SlotPorts):
            return {"blue": ports.blue, "green": ports.green, "rehearsal": ports.rehearsal}
        return {"blue": ports.port, "green": ports.port, "rehearsal": ports.rehearsal}

    def own_images(self) -> dict[str, str]:
        """Return the one of `images` this part runs."""
        return {role: ref for role, ref in self.images().items() if role == self.service}

    def checks(self, where: Where | None = None) -> list[BaseCheck]:
        """List the checks of its slots."""
        return infracore_checks.slot(self.service) if where in (None, "slot") else []

    def environment(self, resolve: Resolve) -> dict[str, str]:
        """Environment of the release, the same for every slot. Secrets in clear: never log it."""
        clear = {"INFRA_CORE_ENV": self.config_name, "ENVIRONMENT": self.config_name}
        if self.jwt_secret is not None:
            clear[JWT] = resolve(self.jwt_secret).get_secret_value()
        return clear | self.added_env(resolve)

    def slot_env(self, slot: Slot) -> dict[str, str]:
        """Environment of one slot, read after the release's: its port, and a rehearsal's copies."""
        found = {PORT[self.service]: str(self.ports_of_slots[slot])}
        if self.service == "console":
            direct = not self.overlap.console and "console" in self.expose and slot != "rehearsal"
            found["INFRA_CORE_CONSOLE_HOST"] = "0.0.0.0" if direct else "127.0.0.1"  # noqa: S104
        if slot == "rehearsal":
            found |= {
                "INFRA_CORE_DB_PATH": f"{self.rehearsals}/console.db",
                "INFRA_CORE_SNAP_REPO_DIR": f"{self.rehearsals}/snapshots",
                "INFRA_CORE_SNAP_TEMP_DIR": f"{self.rehearsals}/scratch",
            }
        return found

    def host_stack(self, resolve: Resolve | None = None) -> HostStack:  # noqa: ARG002
        """Say what the host is told; no part of it is secret."""
        compose = Compose(
            project=self.project,
            slot_service=self.service,
            port=self.public_port(self.service),
            host_network=True,
        )
        return HostStack(
            **self.shared_stack(),
            stack=self.part,
            kind="slots" if self.mode == "systemd" else "compose",
            user=self.user,
            opt=self.opt,
            data=f"{REHEARSALS}/{self.service}",
            ports=self.slot_ports(self.service),
            # gate is the one that has nothing to do with it
            database=None if self.service == "gate" else self.database,
            overlap=self.overlaps(self.service),
            rehearsal=self.rehearsal,
            checks=[check.as_json() for check in self.checks() if check.where != "public"],
            listeners=None,  # those of the whole host are told to the files part
            env_files=[SECRETS],
            # gate is the way in, and the score of the whole is asked with it
            required=self.service in {"gate", *self.required},
            compose=compose if self.mode == "compose" else None,
        )

    def needs(self, artifact_bytes: int = 0) -> dict[str, Any]:
        """Say what the host must offer: the ports of its slots."""
        ports = self.slot_ports(self.service).as_list()
        more = [port + METRICS for port in ports] if self.service == "gate" else []
        return {**super().needs(artifact_bytes), "ports": [*ports, *more]}

    def secrets(self) -> list[SecretUse]:
        """List what its environment and its image need."""
        own = [SecretUse("infracore_jwt_secret", self.jwt_secret)] if self.jwt_secret else []
        more = [SecretUse(f"infracore_secret_env[{n!r}]", r) for n, r in self.secret_env.items()]
        return [*self.registry_secrets(), *own, *more]


class InfracoreSnap(InfracoreService):
    """Snapshots."""

    service = "snap"


class InfracoreProbe(InfracoreService):
    """Monitoring."""

    service = "probe"


class InfracoreOrchestrator(InfracoreService):
    """Container orchestration."""

    service = "orchestrator"


class InfracoreConsole(InfracoreService):
    """API and interface."""

    service = "console"


class InfracoreGate(InfracoreService):
    """The way in. As the last part it also judges the whole."""

    service = "gate"

    def checks(self, where: Where | None = None) -> list[BaseCheck]:
        """List those of its slots and the eight of the whole."""
        every = [*infracore_checks.slot("gate"), *self.whole_checks()]
        return [check for check in every if where in (None, check.where)]
