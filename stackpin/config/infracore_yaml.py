"""The product's own configuration, configs/<name>.yaml, as data with the product's rules.

Entries which follow from other variables (ports, the database, the secret that signs tokens) are
not declared here: `document` adds them, and `infracore_config` may not set them.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, JsonValue, model_validator

from stackpin.config.infracore_types import DATA, ETC, LOGS, PublicPorts
from stackpin.config.problems import invalid
from stackpin.config.types import AbsPath, Model

__all__ = ["ProductConfig", "document", "text"]

_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}  # of YAML's own
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(min_length=1)]


def _data_dir(value: str) -> str:
    if not value.startswith(f"{DATA}/"):
        raise invalid(
            f"a directory below {DATA}, the only place the service may write to",
            f'Write it as "{DATA}/snapshots", or mount another file system there.',
        )
    return value


DataDir = Annotated[AbsPath, AfterValidator(_data_dir)]


class _Section(Model):
    """A mapping of the file. Entries unknown here reach newer releases, unless they look misspelt.

    `derived` maps an entry that must not be set to what sets it.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)
    derived: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name in self.__pydantic_extra__:
            if name in self.derived:
                raise invalid(f"no {name}: it follows from elsewhere", f"{self.derived[name]}.")
            close = difflib.get_close_matches(name, type(self).model_fields, 1, 0.8)
            if close:
                raise invalid(f"{close[0]} rather than {name}", f"Rename it to {close[0]}.")
        return self


class _Logs(_Section):
    level: Literal["debug", "info", "warn", "error"] = "info"
    console: bool = True  # the journal takes what is written there


class _GateLogs(_Logs):
    file: AbsPath = f"{LOGS}/gate.log"


class _ConsoleLogs(_Logs):
    file: AbsPath = f"{LOGS}/console.log"


class _Acme(_Section):
    directory_url: Name = "https://acme-v02.api.letsencrypt.org/directory"
    email: str = ""  # the product asks for certificates as soon as this is set
    cache_dir: AbsPath = f"{ETC}/certs"
    challenge_type: Literal["http-01"] = "http-01"
    enabled: bool = False


class _Gate(_Section):
    derived: ClassVar = {"ports": "Set infracore_ports"}
    host: Name = "0.0.0.0"  # noqa: S104 - the gate is the way in
    logs: _GateLogs = _GateLogs()
    acme: _Acme = _Acme()


class _Database(_Section):
    derived: ClassVar = {"path": "Remove it, the database is at a fixed place"}
    wal_mode: bool = True
    timeout: Name = "30s"


class _Jwt(_Section):
    derived: ClassVar = {"secret": "Set infracore_jwt_secret, which keeps it out of the file"}
    expires_hours: Count = 8


class _Session(_Section):
    timeout_minutes: Count = 30


class _Auth(_Section):
    jwt: _Jwt = _Jwt()
    session: _Session = _Session()


class _Cors(_Section):
    enabled: bool = False
    origins: list[str] = Field(default_factory=list)
    methods: list[str] = Field(default_factory=lambda: ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
    headers: list[str] = Field(default_factory=lambda: ["Content-Type", "Authorization"])


class _Console(_Section):
    derived: ClassVar = {"port": "Set infracore_ports"}
    host: Name = "127.0.0.1"
    logs: _ConsoleLogs = _ConsoleLogs()
    database: _Database = _Database()
    auth: _Auth = _Auth()
    cors: _Cors = _Cors()


class _Orchestrator(_Section):
    derived: ClassVar = {"port": "Set infracore_ports"}
    node_name: Name = "production-node"
    cluster_mode: bool = False
    health_check_interval: Name = "30s"
    resource_monitoring: bool = True
    default_replicas: Count = 3
    max_deployments: Count = 100
    enable_metrics: bool = True


class _Probe(_Section):
    derived: ClassVar = {"port": "Set infracore_ports"}
    check_interval: Name = "30s"
    alert_interval: Name = "5m"
    cleanup_interval: Name = "24h"
    result_retention: Name = "7d"
    alert_retention: Name = "30d"
    enable_notifications: bool = True
    max_concurrent_probes: Count = 50


class _Retention(_Section):
    daily: Count = 7
    weekly: Count = 4
    monthly: Count = 12


class _Snap(_Section):
    derived: ClassVar = {"port": "Set infracore_ports"}
    repo_dir: DataDir = f"{DATA}/snapshots"
    temp_dir: DataDir = f"{DATA}/scratch"
    max_parallel: Count = 8
    rate_limit: Name = "50MB/s"
    scrub_interval: Name = "24h"
    default_retention: _Retention = _Retention()


class ProductConfig(_Section):
    """What can be set in the product's file; what is left out has the product's own default."""

    gate: _Gate = _Gate()
    console: _Console = _Console()
    orchestrator: _Orchestrator = _Orchestrator()
    probe: _Probe = _Probe()
    snap: _Snap = _Snap()

    @model_validator(mode="after")
    def _writable(self) -> Self:
        try:
            json.dumps(self.model_dump(), ensure_ascii=False, allow_nan=False).encode()
        except ValueError:
            raise invalid("finite numbers and whole characters", "YAML has no others.") from None
        return self


def document(config: ProductConfig, ports: PublicPorts, database: str) -> dict[str, Any]:
    """Return the whole file as data. It has no secret: that reaches the services otherwise."""
    found: dict[str, Any] = config.model_dump(mode="json")
    gate, console = found["gate"], found["console"]
    gate["ports"] = {"http": ports.gate, "https": ports.gate_tls}
    console["database"] = {"path": database, **console["database"]}
    numbers = {"console": ports.console, "orchestrator": ports.orchestrator}
    numbers |= {"probe": ports.probe, "snap": ports.snap}
    return {**found, **{name: {"port": port, **found[name]} for name, port in numbers.items()}}


def text(document: Mapping[str, Any]) -> str:
    """Write data as YAML, one entry a line; scalars as JSON writes them, which is YAML too."""
    return "".join(f"{line}\n" for line in _lines(document, ""))


def _lines(mapping: Mapping[str, Any], indent: str) -> list[str]:
    lines = []
    for name, value in mapping.items():
        plain = re.fullmatch(r"[a-z][a-z0-9_]*", name) and name not in _WORDS
        key = name if plain else _json(name)
        if isinstance(value, Mapping) and value:
            lines += [f"{indent}{key}:", *_lines(value, indent + "  ")]
        else:
            lines.append(f"{indent}{key}: {_json(value)}")
    return lines


def _json(value: object) -> str:
    # JSON escapes what is beyond 16 bits in two halves, which YAML does not put together.
    plain = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return re.sub(r"[^ -~\U00010000-\U0010ffff]", lambda found: f"\\u{ord(found[0]):04x}", plain)
