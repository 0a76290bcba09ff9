"""The gate: what the world sees. It passes requests on to the console, and counts them."""

import threading
from collections import Counter
from pathlib import Path

from ...serving.http import HttpError, Request, Response
from .relay import relay
from .releases import Release
from .service import Door, Service, health, log, routed
from .settings import Settings, SettingsError

__all__ = ["Gate", "service"]

METRICS_OFFSET = 1000
"""The port of metrics, health and routes lies so far above the one of HTTP."""


def service(settings: Settings, release: Release) -> Service:
    """Make the gate, open at every address; it speaks no TLS and never opens the HTTPS port."""
    metrics_port = settings.gate_http_port + METRICS_OFFSET
    if metrics_port > 65535:
        raise SettingsError(f"gate.ports.http leaves no port for metrics: {metrics_port}")
    gate = Gate(settings, release)
    inside = {"/health": gate.health, "/metrics": gate.metrics, "/routes": gate.list_routes}
    doors = (
        Door(metrics_port, routed(inside)),
        Door(settings.gate_http_port, gate),
    )
    return Service(doors, gate.open)


class Gate:
    """Answers the public port by its routes; there are none before every port is open."""

    def __init__(self, settings: Settings, release: Release) -> None:
        self._settings = settings
        self._release = release
        self._routes: dict[str, int] = {}
        self._counted: Counter[int] = Counter()
        self._lock = threading.Lock()

    def open(self) -> None:
        """Register the routes; the first prefix that fits wins."""
        self._routes = dict.fromkeys(("/console", "/"), self._settings.console_port)
        if self._settings.acme_email:
            self._prepare_acme()

    def __call__(self, request: Request) -> Response:
        """Pass a request on; 502 when the console is away."""
        try:
            fits = [port for prefix, port in self._routes.items() if _below(request.path, prefix)]
            if not fits:
                raise HttpError(404, "No route")
            response = relay(request, fits[0])
        except HttpError as error:
            response = Response.of_error(error)
        with self._lock:
            self._counted[response.status] += 1
        return response

    def health(self) -> Response:
        """Answer 200 when there are routes."""
        return health(self._release, "healthy" if self._routes else "unhealthy")

    def list_routes(self) -> Response:
        """Answer with every prefix and where it leads."""
        routes = [
            {"path": prefix, "target": f"http://127.0.0.1:{port}"}
            for prefix, port in self._routes.items()
        ]
        return Response.of_json({"routes": routes, "total": len(routes)})

    def metrics(self) -> Response:
        """Answer in Prometheus' text format."""
        with self._lock:
            counted = sorted(self._counted.items())
        lines = ["# TYPE gate_requests_total counter"]
        lines += [f'gate_requests_total{{status="{status}"}} {n}' for status, n in counted]
        lines += ["# TYPE gate_routes gauge", f"gate_routes {len(self._routes)}", ""]
        return Response.of_text("\n".join(lines))

    def _prepare_acme(self) -> None:
        """Do what the product does with an address of its own: try, and only warn on failure."""
        try:
            Path(self._settings.acme_cache or "certs").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            log(f"warning: ACME: {error}")
        log("warning: ACME: challenges are not answered, no certificate is obtained")


def _below(path: str, prefix: str) -> bool:
    return prefix in {"/", path} or path.startswith(f"{prefix}/")
