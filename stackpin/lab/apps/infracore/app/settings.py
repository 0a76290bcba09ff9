"""The configuration file of the environment, environment variables over it, checked as a whole.

Every service reads and checks everything: a file that lacks another service's part is refused.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .miniyaml import YamlError, parse

__all__ = ["OVERRIDES", "Settings", "SettingsError", "load"]

PREFIX = "INFRA_CORE_"
OVERRIDES = {
    "GATE_HOST": "gate.host",
    "GATE_HTTP_PORT": "gate.ports.http",
    "GATE_HTTPS_PORT": "gate.ports.https",
    "ACME_EMAIL": "gate.acme.email",
    "ACME_ENABLED": "gate.acme.enabled",
    "CONSOLE_HOST": "console.host",
    "CONSOLE_PORT": "console.port",
    "JWT_SECRET": "console.auth.jwt.secret",
    "DB_PATH": "console.database.path",
    "ORCH_PORT": "orchestrator.port",
    "ORCH_NODE_NAME": "orchestrator.node_name",
    "ORCH_CLUSTER_MODE": "orchestrator.cluster_mode",
    "PROBE_PORT": "probe.port",
    "PROBE_CHECK_INTERVAL": "probe.check_interval",
    "PROBE_ENABLE_NOTIFICATIONS": "probe.enable_notifications",
    "SNAP_PORT": "snap.port",
    "SNAP_REPO_DIR": "snap.repo_dir",
    "SNAP_TEMP_DIR": "snap.temp_dir",
}
"""Variable, without its prefix, that goes before a key of the file unless it is empty."""

_DURATION = re.compile(r"(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+(?:\.[0-9]+)?)s)?", re.ASCII)


class SettingsError(Exception):
    """The configuration cannot be used; the message never repeats a secret."""


@dataclass(frozen=True)
class Settings:
    """What the services need. Durations are seconds; the secret stays out of `repr`."""

    environment: str
    gate_host: str
    gate_http_port: int
    gate_https_port: int
    acme_email: str
    acme_cache: str
    console_host: str
    console_port: int
    database: Path
    wal: bool
    busy_seconds: float
    jwt_secret: str = field(repr=False)
    token_seconds: float
    orchestrator_port: int
    node_name: str
    cluster_mode: bool
    beat_seconds: float
    probe_port: int
    probe_seconds: float
    snap_port: int
    snap_repository: Path
    snap_temporary: Path


def load(environ: Mapping[str, str], folder: Path = Path()) -> Settings:
    """Read `configs/<INFRA_CORE_ENV>.yaml` below `folder`, the working directory."""
    environment = environ.get(f"{PREFIX}ENV") or "development"
    path = folder / "configs" / f"{environment}.yaml"
    try:
        document = parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"failed to read config file {path}: {error.strerror}") from error
    except (YamlError, UnicodeDecodeError) as error:
        raise SettingsError(f"failed to parse config file {path}: {error}") from error
    given = {
        key: value for name, key in OVERRIDES.items() if (value := environ.get(f"{PREFIX}{name}"))
    }
    values = _Values(document, given)
    settings = _settings(values, environment)
    if environment == "production" and not settings.jwt_secret:
        values.problems.append("console.auth.jwt.secret is required in production")
    if values.problems:
        raise SettingsError(f"invalid configuration {path}: {'; '.join(values.problems)}")
    return settings


def _settings(values: "_Values", environment: str) -> Settings:
    return Settings(
        environment=environment,
        gate_host=values.required("gate.host"),
        gate_http_port=values.port("gate.ports.http"),
        gate_https_port=values.port("gate.ports.https"),
        acme_email=values.text("gate.acme.email"),
        acme_cache=values.text("gate.acme.cache_dir"),
        console_host=values.required("console.host"),
        console_port=values.port("console.port"),
        database=Path(values.required("console.database.path")),
        wal=values.flag("console.database.wal_mode", True),
        busy_seconds=values.seconds("console.database.timeout", 5.0),
        jwt_secret=values.text("console.auth.jwt.secret"),
        token_seconds=3600 * values.seconds("console.auth.jwt.expires_hours", 24.0),
        orchestrator_port=values.port("orchestrator.port"),
        node_name=values.text("orchestrator.node_name") or "node-1",
        cluster_mode=values.flag("orchestrator.cluster_mode", False),
        beat_seconds=values.seconds("orchestrator.health_check_interval", 30.0),
        probe_port=values.port("probe.port"),
        probe_seconds=values.seconds("probe.check_interval", 30.0),
        snap_port=values.port("snap.port"),
        snap_repository=Path(values.required("snap.repo_dir")),
        snap_temporary=Path(values.required("snap.temp_dir")),
    )


class _Values:
    """Values by dotted key; what is wrong with them is collected, so that one start tells all."""

    def __init__(self, document: dict[str, Any], given: dict[str, str]) -> None:
        self._document = document
        self._given = given
        self.problems: list[str] = []

    def text(self, key: str) -> str:
        value = self._given.get(key, self._of_file(key))
        return "" if value is None else str(value)

    def required(self, key: str) -> str:
        value = self.text(key)
        if not value:
            self.problems.append(f"{key} is required")
        return value

    def port(self, key: str) -> int:
        value = self.text(key)
        number = int(value) if value.isascii() and value.isdigit() and len(value) < 6 else 0
        if not 1 <= number <= 65535:
            self.problems.append(f"{key} must be a port from 1 to 65535")
        return number

    def flag(self, key: str, default: bool) -> bool:
        value = self.text(key).lower()
        if value not in {"", "true", "false", "1", "0"}:
            self.problems.append(f"{key} must be true or false")
        return value in {"true", "1"} if value else default

    def seconds(self, key: str, default: float) -> float:
        """Read a number or a duration such as `1m30s`."""
        value = self.text(key)
        if not value:
            return default
        if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", value):
            number = float(value)
        else:
            found = _DURATION.fullmatch(value)
            hours, minutes, rest = found.groups(default="0") if found else ("0", "0", "0")
            number = int(hours) * 3600 + int(minutes) * 60 + float(rest)
        if number <= 0:
            self.problems.append(f"{key} must be a positive duration")
            return default
        return number

    def _of_file(self, key: str) -> object:
        value: object = self._document
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value
