"""The answers that show a healthy InfraCore: each service's own, and the eight of the whole."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

from pydantic import JsonValue

from stackpin.config.checks import (
    BaseCheck,
    ContainerCheck,
    DiskCheck,
    HttpCheck,
    LogCheck,
    MemoryCheck,
    PermissionsCheck,
    SystemdCheck,
)
from stackpin.config.infracore_types import HOME, METRICS, SECRETS, SERVICES, Service

__all__ = ["PARTS", "host", "slot"]

PARTS: dict[Service, str] = {service: f"infracore-{service}" for service in SERVICES}
_SLOT = "http://127.0.0.1:{port}"
_PATH: dict[Service, str] = {
    "snap": "/health",
    "probe": "/health",
    "orchestrator": "/health",
    "console": "/api/v1/health",
    "gate": "/api/v1/health",  # through the proxy: console's answer
}
_HEALTHY: dict[Service, dict[str, JsonValue]] = {
    "snap": {"status": "healthy", "service": "infra-core-snap"},
    "probe": {"status": "healthy", "probe": {"running": True}},
    "orchestrator": {"status": "healthy", "orchestrator": {"running": True}},
    "console": {"status": "healthy", "database": "connected"},
    "gate": {"status": "healthy"},
}
_SHARE = 2.0 / len(SERVICES)  # of the two points for what runs, and of the two for what answers


def slot(service: Service) -> list[BaseCheck]:
    """List checks asked of a service's slot on its own port.

    They must pass but weigh nothing: the score is that of the eight, see `host`.
    """
    url = f"{_SLOT}{_PATH[service]}"
    found: list[BaseCheck] = [
        HttpCheck(name="health", url=url, json_has=_HEALTHY[service], weight=0.0)
    ]
    if service == "gate":
        routes = f"http://127.0.0.1:{{port+{METRICS}}}/health"
        found.append(
            HttpCheck(name="routes", url=routes, json_has={"status": "healthy"}, weight=0.0)
        )
    return found


def host(
    mode: Literal["systemd", "compose"],
    ports: Mapping[Service, int],
    required: Collection[str],
    data: str,
) -> list[BaseCheck]:
    """List the eight checks of the whole: they weigh 8 together, those of `required` must pass.

    `ports` are the public ones, `data` is the directory of the database. What runs weighs 2, what
    answers 2; disk, memory, permissions and logs 1 each.
    """
    return [
        *(_runs(service, mode, service in required) for service in SERVICES),
        *(_answers(service, ports[service], service in required) for service in SERVICES),
        DiskCheck(name="disk", path=data, max_used_percent=90, required=False),
        MemoryCheck(name="memory", max_used_percent=85, required=False),
        PermissionsCheck(
            name="owner-secrets", path=SECRETS, user="root", mode="0600", weight=0.5, required=False
        ),
        PermissionsCheck(
            name="owner-files", path=f"{HOME}/current", user="root", weight=0.5, required=False
        ),
        *(_log(service) for service in SERVICES),
    ]


def _runs(service: Service, mode: str, required: bool) -> BaseCheck:
    common: dict[str, Any] = {
        "name": f"runs-{service}",
        "where": "host",
        "weight": _SHARE,
        "required": required,
        "of": PARTS[service],
    }
    return SystemdCheck(**common) if mode == "systemd" else ContainerCheck(**common)


def _answers(service: Service, port: int, required: bool) -> BaseCheck:
    return HttpCheck(
        name=f"answers-{service}",
        where="host",
        url=f"http://127.0.0.1:{port}{_PATH[service]}",
        json_has=_HEALTHY[service],
        weight=_SHARE,
        required=required,
        timeout=10.0,
    )


def _log(service: Service) -> BaseCheck:
    return LogCheck(
        name=f"log-{service}",
        where="host",
        weight=1.0 / len(SERVICES),
        required=False,
        of=PARTS[service],
    )
