"""The compose file of XingRin's server stack, built as data and written as JSON, which is YAML.

Values of variables are never in it: a bare name under `environment`, or a reference ${NAME}, is
filled from the environment of the command that reads the file. Nothing depends on anything: the
host program orders what starts, and docker restarts in any order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from stackpin.config.xingrin import AGENT, NETWORK, POSTGRES_PORT, REDIS_PORT, XingrinServer

__all__ = ["BRIDGE", "REDIS_PORT", "text"]

STACK = "xingrin-server"
BRIDGE = "xingrin0"  # the network's interface on the host: a name the firewall can let through
# The product's own name for the node on the server's host; under another it would be another node.
LOCAL_NODE = "\u672c\u5730\u8282\u70b9"
HEAD = "# Written by stackpin: one release of the server stack.\n"
Service = dict[str, Any]


def text(
    settings: XingrinServer,
    variables: Sequence[str],
    images: Mapping[str, str],
    tls: str,
    *,
    nodes: bool,
) -> str:
    """Return the file's text.

    `variables` are the names the server's container gets, `images` the pinned ones by role, `tls`
    the directory of the certificate, `nodes` whether machines beside this one are served.
    """
    depend, front = settings.services(nodes=nodes)
    services = {
        f"server-{slot}": _server(settings, variables, images["server"], slot)
        for slot in ("blue", "green")
    }
    makers = {
        "postgres": lambda: _postgres(settings, images["postgres"]),
        "redis": lambda: _redis(images["redis"]),
        "frontend": lambda: _service("frontend", images["frontend"]),
        "agent": lambda: _agent(images["agent"]),
        "nginx": lambda: _nginx(settings, images["nginx"], tls),
    }
    services |= {name: makers[name]() for name in [*depend, *front]}
    document: dict[str, Any] = {
        # Kept with the release: a host goes back to one that consists of other services, too.
        "x-stackpin": {"depend": depend, "front": front},
        "services": services,
        "networks": {
            NETWORK: {
                "name": NETWORK,
                "driver_opts": {"com.docker.network.bridge.name": BRIDGE},
            }
        },
    }
    if "postgres" in depend:
        document["volumes"] = {"postgres_data": {}}
    return HEAD + json.dumps(document, indent=1) + "\n"


def _service(name: str, image: str, **more: Any) -> Service:  # noqa: ANN401
    # No label names the release: what did not change is then left running by the next one.
    labels = {
        "stackpin.stack": STACK,
        "stackpin.service": name,
        "stackpin.role": name,
    }
    return {
        "image": image,
        "restart": "always",
        "labels": labels,
        "networks": {NETWORK: {}},
        **more,
    }


def _server(settings: XingrinServer, variables: Sequence[str], image: str, slot: str) -> Service:
    service = _service(
        "server",
        image,
        profiles=[slot],
        stop_grace_period=f"{max(1, round(settings.drain_seconds))}s",
        environment=[*sorted(variables), "STACKPIN_RELEASE"],
        volumes=[
            f"{settings.data_dir}/results:/app/backend/results",
            f"{settings.data_dir}/logs:/app/backend/logs",
            "/var/run/docker.sock:/var/run/docker.sock",
        ],
        healthcheck=_health(
            ["CMD", "curl", "-f", "http://localhost:8888/api/"], "30s", "10s", 3, "60s", "2s"
        ),
    )
    service["labels"] |= {
        "stackpin.slot": slot,
        "stackpin.release": "${STACKPIN_RELEASE:?}",
    }
    service["networks"] = {NETWORK: {"aliases": ["server"]}}
    # Only the slot in front comes back after a reboot: the host program gives it that policy.
    service["restart"] = "no"
    return service


def _postgres(settings: XingrinServer, image: str) -> Service:
    return _service(
        "postgres",
        image,
        ports=[f"{POSTGRES_PORT}:{POSTGRES_PORT}"],
        volumes=["postgres_data:/var/lib/postgresql/data"],
        environment={
            "POSTGRES_DB": "${DB_NAME:?}",
            "POSTGRES_USER": "${DB_USER:?}",
            "POSTGRES_PASSWORD": "${DB_PASSWORD:?}",
        },
        healthcheck=_health(["CMD", "pg_isready", "-U", settings.db_user]),
    )


def _redis(image: str) -> Service:
    return _service(
        "redis",
        image,
        ports=[f"{REDIS_PORT}:{REDIS_PORT}"],
        healthcheck=_health(["CMD", "redis-cli", "ping"]),
    )


def _agent(image: str) -> Service:
    return _service(
        "agent",
        image,
        container_name=AGENT,
        # bash as the first process ignores the signal to stop: waiting would change nothing
        stop_grace_period="1s",
        volumes=["/proc:/host/proc:ro"],
        environment={
            "SERVER_URL": "http://server:8888",
            "WORKER_NAME": LOCAL_NODE,
            "IS_LOCAL": "true",
            "IMAGE_TAG": "${IMAGE_TAG:?}",
        },
    )


def _nginx(settings: XingrinServer, image: str, tls: str) -> Service:
    service = _service(
        "nginx",
        image,
        ports=[f"{settings.public_port}:8083"],
        volumes=[f"{tls}:/etc/nginx/ssl:ro"],
    )
    if not settings.frontend:
        # Its configuration names the interface; nginx does not start when nobody has that name.
        service["networks"] = {NETWORK: {"aliases": ["frontend"]}}
    return service


def _health(  # noqa: PLR0917 - in compose's order
    test: list[str],
    interval: str = "5s",
    timeout: str = "5s",
    retries: int = 5,
    start_period: str = "30s",
    start_interval: str = "1s",
) -> Service:
    return {
        "test": test,
        "interval": interval,
        "timeout": timeout,
        "retries": retries,
        "start_period": start_period,
        "start_interval": start_interval,
    }
