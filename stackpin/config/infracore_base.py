"""What all parts of InfraCore share: judged as a whole, and the places that follow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Self

from pydantic import field_validator, model_validator

from stackpin.config import infracore_checks, infracore_yaml
from stackpin.config.checks import BaseCheck, Check, distinct_names
from stackpin.config.common import Resolve, SecretUse, StackSettings
from stackpin.config.hoststack import SharedPort, SlotPorts
from stackpin.config.infracore_env import OWN
from stackpin.config.infracore_fields import InfracoreFields
from stackpin.config.infracore_types import DATA, METRICS, SERVICES, Service
from stackpin.config.mirrors import PROFILES
from stackpin.config.needs import VERSIONS
from stackpin.config.problems import invalid

__all__ = ["InfracoreBase"]

MAX_PORT = 65535
_COMMANDS = ["python3", "systemctl", "systemd-run", "ss", "nginx", "sqlite3", "restic"]


class InfracoreBase(StackSettings, InfracoreFields):
    """Every variable; each part uses its own of them."""

    prefix: ClassVar[str] = "infracore_"
    own_env: ClassVar[dict[str, str]] = OWN
    hidden: ClassVar[frozenset[str]] = frozenset({"env", "secret_env", "backup_env"})

    @model_validator(mode="before")
    @classmethod
    def _mirrored(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Let the one choice of mirrors reach docker and the build, unless these have their own."""
        choice, artifact = data.get("mirrors", "none"), data.get("artifact")
        if isinstance(artifact, dict) and artifact.get("kind") == "git":
            data = {**data, "artifact": {"mirrors": choice, **artifact}}
        own = choice if isinstance(choice, dict) else {}
        profile = PROFILES.get(choice) if isinstance(choice, str) else None
        docker = profile.docker if profile else own.get("docker")
        return {"registry_mirrors": [docker], **data} if docker else data

    @field_validator("extra_checks")
    @classmethod
    def _of_the_host(cls, value: list[Check]) -> list[Check]:
        for check in value:
            if check.where != "host":
                raise invalid(
                    f"checks of the host only ({check.name} is of a {check.where}): five services "
                    "have slots, and which one is meant could not be told",
                    'Give it "where": "host" and ask a public port.',
                )
        ports = dict.fromkeys(SERVICES, 1)
        distinct_names([*_every_check(ports), *value])
        return value

    @field_validator("expose", "required")
    @classmethod
    def _once(cls, value: list[Any]) -> list[Any]:
        if len(set(value)) < len(value):
            raise invalid("each service once", "Remove the repetition.")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        taken: dict[int, str] = {}
        for variable, port in self._ports():
            if port > MAX_PORT:
                raise invalid(
                    f"{variable} to leave room for the metrics, {METRICS} above it, below 65536",
                    "Choose a smaller one.",
                )
            if port in taken:
                raise invalid(
                    f"ports to differ: {taken[port]} and {variable} are both {port}",
                    "Change one of them.",
                )
            taken[port] = variable
        for name, better in self.recommended.model_dump(exclude_none=True).items():
            if better < getattr(self, f"min_{name}"):
                raise invalid(
                    f"infracore_recommended[{name!r}] of at least infracore_min_{name}",
                    "Raise it, or lower the minimum.",
                )
        return self

    def _ports(self) -> Iterator[tuple[str, int]]:
        """Yield every port some process listens on, with the variable that says so."""
        for service in SERVICES:
            yield f"infracore_ports[{service!r}]", self.public_port(service)
            slots: SlotPorts = getattr(self.slots, service)
            named = {"rehearsal": slots.rehearsal}
            if self.overlaps(service):
                named |= {"blue": slots.blue, "green": slots.green}
            for slot, port in named.items():
                yield f"infracore_slots[{service!r}][{slot!r}]", port
            if service == "gate":
                direct = [] if self.overlap.gate else [("infracore_ports['gate']", self.ports.gate)]
                own = [(f"infracore_slots['gate'][{slot!r}]", port) for slot, port in named.items()]
                for variable, port in [*own, *direct]:
                    yield f"{variable} + {METRICS}", port + METRICS
        if self.tls is not None:
            yield "infracore_ports['gate_tls']", self.ports.gate_tls

    def public_port(self, service: Service) -> int:
        """Return the port clients of a service know."""
        return int(getattr(self.ports, service))

    def overlaps(self, service: Service) -> bool:
        """Tell whether both slots of a service may run at once, behind nginx."""
        return bool(getattr(self.overlap, service))

    def slot_ports(self, service: Service) -> SlotPorts | SharedPort:
        """Return the ports of a service's slots; without overlap that is the public one."""
        slots: SlotPorts = getattr(self.slots, service)
        if self.overlaps(service):
            return slots
        return SharedPort(port=self.public_port(service), rehearsal=slots.rehearsal)

    @property
    def data_dir(self) -> str:
        """Directory on the host with the database and what the services store beside it."""
        if self.mode == "systemd":
            return DATA
        return f"/var/lib/docker/volumes/{self.volume}/_data"

    @property
    def volume(self) -> str:
        """Name of the volume that holds the data in mode compose."""
        return f"{self.project}_data"

    @property
    def database(self) -> str:
        """The live SQLite database on the host, shared by four of the services."""
        return f"{self.data_dir}/console.db"

    @property
    def acme(self) -> bool:
        """Whether gate itself asks for certificates, and so writes to their directory."""
        return bool(self.config.gate.acme.email)

    def config_text(self) -> str:
        """Return configs/<config_name>.yaml. The database's path is as the services see it."""
        found = infracore_yaml.document(self.config, self.ports, f"{DATA}/console.db")
        return infracore_yaml.text(found)

    def whole_checks(self) -> list[BaseCheck]:
        """List the eight checks of the whole host, which weigh 8, and the extra ones."""
        ports = {service: self.public_port(service) for service in SERVICES}
        eight = infracore_checks.host(self.mode, ports, self.required, self.data_dir)
        return [*eight, *self.extra_checks]

    def repository(self, service: Service) -> str:
        """Repository of a service's image, without a tag."""
        return f"{self.registry}/{self.namespace}/infracore-{service}"

    def images(self) -> dict[str, str]:
        """Service -> "repository:tag" of what mode compose runs; what the lock file locks."""
        if self.mode == "systemd":
            return {}
        return {service: f"{self.repository(service)}:{self.version}" for service in SERVICES}

    def own_images(self) -> dict[str, str]:
        """Those of `images` that this part runs."""
        return {}

    def shared_stack(self) -> dict[str, Any]:
        """Return what the host is told alike of every part."""
        return {
            "guard_seconds": self.guard_seconds,
            "drain_seconds": self.drain_seconds,
            "start_timeout": self.start_timeout,
            "keep_releases": self.keep_releases,
            "gate": self.gate,
        }

    def configuration(self) -> str:
        """Say what was validated: the variables, and the product's own file as a whole."""
        return f"{super().configuration()}; configs/{self.config_name}.yaml valid"

    def needs(self, artifact_bytes: int = 0) -> dict[str, Any]:
        """Say what the host must offer to any part, as the host's `preflight` reads it."""
        programs = ["nginx", "restic", *(["docker", "compose"] if self.mode == "compose" else [])]
        return {
            "disk_mb": 64,
            "memory_mb": 64,
            "ports": [],
            "paths": ["/opt", "/var/lib", "/etc/systemd/system"],
            "repo_root": None,
            "repo_create": False,
            "database": None,
            "web_user": "www-data",
            "artifact_bytes": artifact_bytes,
            "commands": _COMMANDS,
            "docker": self.mode == "compose",
            "project": self.project if self.mode == "compose" else None,
            "versions": {name: VERSIONS[name] for name in programs},
        }

    def added_env(self, resolve: Resolve) -> dict[str, str]:
        """Return the added environment, secrets in clear."""
        clear = {name: resolve(ref).get_secret_value() for name, ref in self.secret_env.items()}
        return {**self.env, **clear}

    def registry_secrets(self) -> list[SecretUse]:
        """List the registry's password, when there is one."""
        if self.registry_password is None or self.mode == "systemd":
            return []
        return [SecretUse("infracore_registry_password", self.registry_password)]


def _every_check(ports: dict[Service, int]) -> list[BaseCheck]:
    """List checks for their names alone."""
    eight = infracore_checks.host("systemd", ports, (), DATA)
    return [*infracore_checks.slot("gate"), *eight]
