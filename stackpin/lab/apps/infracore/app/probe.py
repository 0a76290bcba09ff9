"""The probe monitor: asks three URLs now and then, and keeps the last answers.

As in the product, two of the three are on ports that nothing has in production: they always fail.
"""

import urllib.request

from ...serving.http import Response
from .service import Context, Door, Service, health, log, now, routed

__all__ = ["service"]

PROBES = {
    "console": "http://localhost:8082/api/v1/health",
    "gate": "http://localhost:8080/health",
    "orchestrator": "http://localhost:8084/health",
}
TIMEOUT = 2.0


def service(context: Context) -> Service:
    """Make the probe monitor, open at every address."""
    probe = _Probe(context)
    doors = (Door(context.settings.probe_port, routed({"/health": probe.health})),)
    return Service(doors, probe.scan, context.settings.probe_seconds)


class _Probe:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._last_scan: str | None = None
        # A proxy of the machine's environment is none for its own addresses.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with context.database.write() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO probes (name, url) VALUES (?, ?)", PROBES.items()
            )

    def scan(self) -> None:
        """Ask every enabled probe once; an alert is there from its first failure to its end."""
        with self._context.database.read() as connection:
            rows = connection.execute("SELECT name, url FROM probes WHERE enabled").fetchall()
        answers = [(row["name"], self._ask(row["url"])) for row in rows]
        moment = now()
        with self._context.database.write() as connection:
            for name, trouble in answers:
                result = (name, not trouble, trouble, moment)
                connection.execute(
                    "INSERT OR REPLACE INTO probe_results VALUES (?, ?, ?, ?)", result
                )
                if trouble:
                    connection.execute("INSERT OR IGNORE INTO alerts VALUES (?, ?)", (name, moment))
                else:
                    connection.execute("DELETE FROM alerts WHERE probe = ?", (name,))
        if self._last_scan is None:
            failing = [name for name, trouble in answers if trouble]
            log(f"first scan: {len(answers)} probes, not healthy: {', '.join(failing) or 'none'}")
        self._last_scan = moment

    def health(self) -> Response:
        """Answer with how many probes there are, and how many are in alert."""
        with self._context.database.read() as connection:
            (probes,) = connection.execute("SELECT count(*) FROM probes").fetchone()
            (enabled,) = connection.execute("SELECT count(*) FROM probes WHERE enabled").fetchone()
            (alerts,) = connection.execute("SELECT count(*) FROM alerts").fetchone()
        about = {
            "running": True,
            "total_probes": probes,
            "enabled_probes": enabled,
            "active_alerts": alerts,
            "last_scan": self._last_scan,
        }
        return health(self._context.release, probe=about)

    def _ask(self, url: str) -> str:
        """Return what is wrong, or nothing."""
        try:
            with self._opener.open(url, timeout=TIMEOUT) as answer:
                return "" if answer.status == 200 else f"status {answer.status}"
        except (OSError, ValueError) as error:
            return str(error)
