"""What the web UI shows of the five services: each is asked at its public port on this machine."""

import http.client
import json
from contextlib import closing
from typing import Any

from .settings import Settings

__all__ = ["overview"]

TIMEOUT = 1.0


def overview(settings: Settings) -> list[dict[str, str]]:
    """Return name, status and version of each; `unreachable` is a status, too."""
    asked = {
        # The gate's own health is behind a port of its own; here it has to pass a request on.
        "gate": (settings.gate_http_port, "/api/v1/health"),
        "console": (settings.console_port, "/api/v1/health"),
        "orchestrator": (settings.orchestrator_port, "/health"),
        "probe": (settings.probe_port, "/health"),
        "snap": (settings.snap_port, "/health"),
    }
    found = [{"name": name, **_ask(*where)} for name, where in asked.items()]
    found[0]["version"] = ""  # what came through the gate is the console's
    return found


def _ask(port: int, path: str) -> dict[str, str]:
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)) as connection:
            connection.request("GET", path)
            answer: Any = json.loads(connection.getresponse().read())
        return {"status": str(answer["status"]), "version": str(answer.get("version", ""))}
    except (OSError, http.client.HTTPException, ValueError, TypeError, LookupError) as error:
        return {"status": "unreachable", "version": "", "reason": str(error)}
