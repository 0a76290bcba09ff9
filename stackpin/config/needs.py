"""What hosts must offer: how it is declared, and how the needs of a host's parts become one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from stackpin.config.problems import invalid
from stackpin.config.types import Model

__all__ = ["VERSIONS", "Endpoint", "Kernel", "OnFailure", "Recommended", "merged"]

VERSIONS = {
    "docker": "20.10",
    "compose": "2.17",
    "restic": "0.14",
    "nginx": "1.18",
    "git": "2.25",
}
"""Program -> the oldest version that the stacks' releases are run with."""

_MOST = ("disk_mb", "memory_mb", "memory_total_mb", "cpus")
_SUM = ("artifact_bytes", "image_bytes")
_ALL = ("paths", "commands", "databases", "endpoints", "registries")


def _endpoint(value: str) -> str:
    parts = urlsplit(value if "://" in value else f"tcp://{value}")
    try:
        port = parts.port
    except ValueError:
        port = 0
    plain = parts.username is None and not re.search(r"[\s\x00-\x1f]", value)
    bare = parts.scheme == "tcp" and port and not (parts.path or parts.query)
    web = parts.scheme in {"http", "https"} and port != 0
    if not (parts.hostname and plain and (bare or web)):
        raise invalid(
            "host:port, or an http or https URL without a login", "Write db.example.net:5432."
        )
    return value


def _kernel(value: str) -> str:
    if not re.fullmatch(r"\d+(\.\d+){0,2}", value):
        raise invalid("a kernel version such as 5.10", "Write its first numbers.")
    return value


Endpoint = Annotated[str, AfterValidator(_endpoint)]
Kernel = Annotated[str, AfterValidator(_kernel)]
OnFailure = Literal["fail", "warn"]


class Recommended(Model):
    """What a host had better have; less is a warning. None: nothing is recommended."""

    cpus: Annotated[int, Field(ge=1)] | None = Field(default=None, description="CPUs.")
    memory_mb: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Memory built in, in MiB."
    )
    disk_mb: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Free disk space, in MiB."
    )


def merged(needs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Make one of the needs of several parts of a host, as far as they concern the host itself.

    Of amounts and versions the largest counts, artifacts and images add up, and what is listed is
    asked for once.
    """
    found: dict[str, Any] = {}
    for one in needs:
        for key in _MOST:
            found[key] = max(int(one.get(key) or 0), found.get(key, 0))
        for key in _SUM:
            found[key] = int(one.get(key) or 0) + found.get(key, 0)
        for key in _ALL:
            found.setdefault(key, [])
            found[key] += [item for item in one.get(key) or [] if item not in found[key]]
        if one.get("database") and one["database"] not in found["databases"]:
            found["databases"].append(one["database"])
        found["docker"] = bool(one.get("docker")) or found.get("docker", False)
        found["kernel"] = max(one.get("kernel") or "0", found.get("kernel", "0"), key=_numbers)
        for key, rank in (("recommended", int), ("versions", _numbers)):
            into = found.setdefault(key, {})
            for name, value in (one.get(key) or {}).items():
                if value is not None:
                    into[name] = max(value, into.get(name, value), key=rank)
    return found


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", str(version))]
