"""The environment variables the program is configured with, read and checked once."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote

PREFIX = "SUB2API_CRM_"
DEFAULT_DSN = "file:sub2api-cn-relay-manager.db?_foreign_keys=on&_busy_timeout=5000"

_DURATION_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|ms|s|m|h)", re.ASCII)
_TRUE = frozenset({"1", "on", "yes", "true"})
_FALSE = frozenset({"0", "off", "no", "false"})
_SYNCHRONOUS = frozenset({"off", "normal", "full", "extra"})


class SettingsError(Exception):
    """A variable is missing or makes no sense. The message never repeats a secret."""


@dataclass(frozen=True)
class Dsn:
    """Where the database is and how its connections are set up."""

    path: Path
    foreign_keys: bool = True
    busy_timeout_ms: int = 5000
    synchronous: str = "full"


@dataclass(frozen=True)
class Settings:
    """All settings. Secrets stay out of `repr`, so they cannot reach a log that way."""

    token: str = field(repr=False)
    password: str = field(repr=False)
    dsn: Dsn
    host: str = ""
    port: int = 18081
    username: str = "admin"
    session_ttl: float = 12 * 3600.0
    repo_root: Path | None = None
    release_name: str = ""
    access_log: bool = False


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings from the environment, or `SettingsError` naming the variable at fault."""
    token = _secret(environ, "ADMIN_TOKEN")
    if not token:
        raise SettingsError(f"{PREFIX}ADMIN_TOKEN is required: it guards the API")
    host, port = parse_listen(environ.get(f"{PREFIX}LISTEN_ADDR") or ":18081")
    root = environ.get(f"{PREFIX}REPO_ROOT", "")
    return Settings(
        token=token,
        password=_secret(environ, "ADMIN_PASSWORD") or token,
        dsn=parse_dsn(environ.get(f"{PREFIX}SQLITE_DSN") or DEFAULT_DSN),
        host=host,
        port=port,
        username=environ.get(f"{PREFIX}ADMIN_USERNAME") or "admin",
        session_ttl=parse_duration(environ.get(f"{PREFIX}ADMIN_SESSION_TTL") or "12h"),
        repo_root=Path(root) if root else None,
        release_name=environ.get("STACKPIN_RELEASE", ""),
        access_log=environ.get(f"{PREFIX}ACCESS_LOG", "").lower() in _TRUE,
    )


def _secret(environ: Mapping[str, str], name: str) -> str:
    """Return a secret that can travel in a header unchanged; any other would never match."""
    value = environ.get(PREFIX + name, "")
    if value != value.strip(" \t") or any(ord(c) < 0x20 or ord(c) == 0x7F for c in value):
        raise SettingsError(
            f"{PREFIX}{name} has control characters, or blanks at an end, "
            "and so cannot be sent in a header"
        )
    return value


def parse_listen(text: str) -> tuple[str, int]:
    """`:port`, `host:port` or `[v6]:port` as (host, port); an empty host means all addresses."""
    host, colon, port = text.rpartition(":")
    number = int(port) if re.fullmatch(r"[0-9]{1,5}", port, re.ASCII) else -1
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not 0 <= number <= 65535 or (":" in host and not bracketed):
        raise SettingsError(f"{PREFIX}LISTEN_ADDR must be :port or host:port, not {text!r}")
    return (host[1:-1] if bracketed else host), number


def parse_duration(text: str) -> float:
    """Seconds of a positive Go duration such as `12h`, `30m` or `1h30m`."""
    parts = list(_DURATION_PART.finditer(text))
    if not text or "".join(part.group() for part in parts) != text:
        raise SettingsError(
            f"{PREFIX}ADMIN_SESSION_TTL must be a duration like 12h or 1h30m, not {text!r}"
        )
    seconds = sum(float(part[1]) * _DURATION_UNITS[part[2]] for part in parts)
    if not 0 < seconds < 10 * 366 * 86400:
        raise SettingsError(f"{PREFIX}ADMIN_SESSION_TTL must be above zero and under ten years")
    return seconds


def parse_dsn(text: str) -> Dsn:
    """Read a `file:` DSN with the options of the Go SQLite drivers; unknown ones are ignored."""
    location, _, query = text.partition("?")
    path = unquote(location.removeprefix("file:")) if location.startswith("file:") else location
    if path.startswith("//"):
        path = "/" + path.removeprefix("//").partition("/")[2]
    options = dict(parse_qsl(query, keep_blank_values=True))
    if path in ("", "/", ":memory:") or "\0" in path or options.get("mode") == "memory":
        raise SettingsError(f"{PREFIX}SQLITE_DSN must name a file: state has to be persistent")
    return Dsn(
        path=Path(path),
        foreign_keys=_flag(options, "_foreign_keys", "_fk"),
        busy_timeout_ms=_milliseconds(options, "_busy_timeout", "_timeout"),
        synchronous=_synchronous(options.get("_synchronous", options.get("_sync", "full"))),
    )


def _flag(options: Mapping[str, str], *names: str) -> bool:
    value = next((options[name].lower() for name in names if name in options), "on")
    if value not in _TRUE | _FALSE:
        raise SettingsError(f"{PREFIX}SQLITE_DSN: {names[0]} must be on or off")
    return value in _TRUE


def _milliseconds(options: Mapping[str, str], *names: str) -> int:
    value = next((options[name] for name in names if name in options), "5000")
    if not re.fullmatch(r"[0-9]{1,7}", value, re.ASCII):
        raise SettingsError(f"{PREFIX}SQLITE_DSN: {names[0]} must be a number of milliseconds")
    return int(value)


def _synchronous(value: str) -> str:
    named = {"0": "off", "1": "normal", "2": "full", "3": "extra"}.get(value, value.lower())
    if named not in _SYNCHRONOUS:
        raise SettingsError(f"{PREFIX}SQLITE_DSN: _synchronous must be one of off, normal, full")
    return named
