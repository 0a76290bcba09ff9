"""What a host is told about a stack: the content of /etc/stackpin/<stack>/stack.json."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, model_serializer, model_validator

from stackpin.config.problems import invalid
from stackpin.config.types import AbsPath, Model, Port, Seconds, UserName


class SlotPorts(Model):
    """Loopback ports of the two slots and of the rehearsal."""

    blue: Port = 18190
    green: Port = 18191
    rehearsal: Port = 18192

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len({self.blue, self.green, self.rehearsal}) < 3:
            raise invalid(
                "three different ports",
                "Both slots run at once during a switch: give each its own.",
            )
        return self

    def as_list(self) -> list[int]:
        """Blue, green, rehearsal."""
        return [self.blue, self.green, self.rehearsal]


class SharedPort(Model):
    """The one port of a service whose slots never run at once, and the rehearsal's on loopback."""

    port: Port
    rehearsal: Port

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if self.port == self.rehearsal:
            raise invalid(
                "two different ports", "The rehearsal runs beside the service: give it its own."
            )
        return self

    @model_serializer
    def _as_slots(self) -> dict[str, int]:
        """Write it as ports of two slots, which is how the host knows every stack."""
        return {"blue": self.port, "green": self.port, "rehearsal": self.rehearsal}

    def as_list(self) -> list[int]:
        """Both, the rehearsal's last."""
        return [self.port, self.rehearsal]


class Gate(Model):
    """When a slot counts as healthy. Times in seconds."""

    pass_score: Annotated[float, Field(ge=0, le=1, description="share of weight to pass")] = 0.75
    consecutive: Annotated[int, Field(ge=1, le=100, description="passes in a row")] = 3
    interval: Annotated[Seconds, Field(description="seconds between two rounds")] = 1.0
    settle: Annotated[float, Field(ge=0, le=3600, description="seconds before the first")] = 1.0
    min_healthy: Annotated[
        float, Field(ge=0, le=3600, description="seconds it must stay healthy without a restart")
    ] = 12.0
    timeout: Annotated[Seconds, Field(description="seconds until the gate gives up")] = 60.0

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        least = self.settle + max(self.min_healthy, (self.consecutive - 1) * self.interval)
        if self.timeout <= least:
            raise invalid(
                f"a gate timeout above {least:g} s, the least time passing takes "
                "(settle, then min_healthy or consecutive rounds)",
                "Raise timeout or lower min_healthy.",
            )
        return self


def require_time(prefix: str, guard_seconds: float, gate: object) -> None:
    """Raise the validation error when the guard would fire while the new slot is still probed.

    `gate` is what became of {prefix}gate; one that is itself wrong is told elsewhere.
    """
    if not isinstance(gate, Gate):
        return
    least = gate.settle + gate.consecutive * (gate.interval + 1) + 10
    if guard_seconds < least:
        raise invalid(
            f"at least {least:g} s, or the guard fires while the new slot is still probed",
            f"Raise it, or lower {prefix}gate's settle, consecutive or interval.",
        )


class Listeners(Model):
    """Which ports may listen on addresses other than loopback, as "443/tcp"."""

    allowed: list[str] = Field(default_factory=list)


class Backup(Model):
    """Where backups go and how many stay. `env` may hold secrets of a remote repository."""

    repository: str
    keep_last: int = 10
    keep_daily: int = 14
    paths: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict, repr=False)


class Static(Model):
    """Where a stack of files lives: releases under `root`, `link` names the live one."""

    root: AbsPath
    link: str = "current"


class Compose(Model):
    """How a kind "compose" is driven: which services are slots, which follow them."""

    project: str
    slot_service: str  # the services <slot_service>-blue and <slot_service>-green are the slots
    depend: list[str] = Field(default_factory=list)  # up before a slot starts, never switched
    front: list[str] = Field(default_factory=list)  # follow the live slot's release
    reload: dict[str, list[str]] = Field(default_factory=dict)  # service -> argv that rereads names
    port: Port
    host_network: bool = False  # slots on the host's loopback ports; stacks may share the project


class Container(Model):
    """How a kind "container" is named; the slot that is not live adds its name to it."""

    name: str


class Postgres(Model):
    """The database: `service` names the compose service, None when it is on another machine."""

    service: str | None
    host: str
    port: Port
    name: str
    user: str
    image: str | None = None  # "repo:tag@sha256:..", whose psql and pg_dump reach a remote one
    network: str | None = None  # docker network from which `host` is reached
    scratch: bool = True  # databases stackpin_scratch_* may be made beside it


class Redis(Model):
    """The compose service with the heartbeats."""

    service: str = "redis"


class Schema(Model):
    """How a release makes its tables in an empty database, and how it changes existing ones."""

    command: list[str] | None = None
    step: list[str] | None = None


# Left out of the file of other kinds: their text, and so their releases' hosts, stay as they were.
_CONTAINERS_ONLY = (
    "heartbeat_seconds",
    "compose",
    "container",
    "postgres",
    "redis",
    "schema",
)


class HostStack(Model):
    """One stack as its host sees it. Paths are absolute, times are seconds."""

    stack: str
    kind: Literal["slots", "static", "container", "compose"] = "slots"
    user: UserName
    opt: AbsPath
    data: AbsPath
    ports: SlotPorts | SharedPort | None = None
    database: AbsPath | None = None
    repo_root: AbsPath | None = None
    overlap: bool = True
    guard_seconds: float = 90.0
    drain_seconds: float = 10.0
    start_timeout: float = 60.0
    rehearsal: bool = True
    keep_releases: int = 5
    web_user: UserName = "www-data"
    gate: Gate = Field(default_factory=Gate)
    checks: list[dict[str, JsonValue]] = Field(default_factory=list)
    listeners: Listeners | None = Field(default_factory=Listeners)  # None: another part judges
    backup: Backup | None = None
    static: Static | None = None
    env_files: list[AbsPath] = Field(default_factory=list)  # made on the host; releases override
    heartbeat_seconds: float = 0.0  # the probe lasts at least so long after the old one stopped
    compose: Compose | None = None
    container: Container | None = None
    postgres: Postgres | None = None
    redis: Redis | None = None
    tables: Schema | None = Field(default=None, alias="schema")
    members: list[str] = Field(default_factory=list)  # stacks whose data and trees this one keeps
    owned: list[AbsPath] = Field(default_factory=list)  # made for it beside opt and data
    required: bool = True  # where it is unhealthy, the host is; else the score of the whole decides

    @model_validator(mode="after")
    def _one_at_a_time(self) -> Self:
        if self.overlap and isinstance(self.ports, SharedPort):
            raise invalid("overlap False", "Two slots at once need a port each: give SlotPorts.")
        return self

    def as_json(self) -> dict[str, Any]:
        """Return the stack as a JSON object; what only containers have is left out elsewhere."""
        found = self.model_dump(mode="json", by_alias=True)
        if self.kind in {"slots", "static"}:
            for name in _CONTAINERS_ONLY:
                del found[name]
            if not self.env_files:
                del found["env_files"]
        for name in ("members", "owned"):
            if not found[name]:
                del found[name]
        if self.required:
            del found["required"]
        if self.compose and not self.compose.host_network:
            del found["compose"]["host_network"]
        return found

    def text(self) -> str:
        """Return the file's text: sorted keys, so that equal stacks are equal bytes."""
        return json.dumps(self.as_json(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
