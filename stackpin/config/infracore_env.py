"""The environment of InfraCore's services, and which variables an inventory may add to it."""

from __future__ import annotations

from stackpin.config.infracore_types import Service

__all__ = ["JWT", "OWN", "PORT"]

PORT: dict[Service, str] = {  # overrides the port of the file, in every service that reads it
    "snap": "INFRA_CORE_SNAP_PORT",
    "probe": "INFRA_CORE_PROBE_PORT",
    "orchestrator": "INFRA_CORE_ORCH_PORT",
    "console": "INFRA_CORE_CONSOLE_PORT",
    "gate": "INFRA_CORE_GATE_HTTP_PORT",
}
JWT = "INFRA_CORE_JWT_SECRET"
OWN = {
    "INFRA_CORE_ENV": "infracore_config_name",
    "ENVIRONMENT": "infracore_config_name",
    JWT: "infracore_jwt_secret",
    **dict.fromkeys([*PORT.values(), "INFRA_CORE_GATE_HTTPS_PORT"], "infracore_ports"),
    "INFRA_CORE_DB_PATH": "nothing: the database is at a fixed place",
    "INFRA_CORE_CONSOLE_HOST": "infracore_expose",
    "INFRA_CORE_GATE_HOST": "infracore_config",
    "INFRA_CORE_SNAP_REPO_DIR": "infracore_config",
    "INFRA_CORE_SNAP_TEMP_DIR": "infracore_config",
}
