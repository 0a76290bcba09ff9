"""The orchestrator: keeps the record of its node. Two at a time would both act."""

import os

from ...serving.http import Response
from .service import Context, Door, Service, health, log, now, routed

__all__ = ["service"]


def service(context: Context) -> Service:
    """Make the orchestrator, open at every address."""
    orchestrator = _Orchestrator(context)
    port = context.settings.orchestrator_port
    door = Door(port, routed({"/health": orchestrator.health}))
    doors = () if context.release.deaf == "orchestrator" else (door,)
    return Service(doors, orchestrator.beat, context.settings.beat_seconds)


class _Orchestrator:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._node = context.settings.node_name
        # Process ids repeat, in containers above all; with the moment of the start they do not.
        self._instance = f"{os.getpid()} since {now()}"
        self._known = False

    def beat(self) -> None:
        """Note that this node is alive, and by whom; say when another orchestrator does so, too."""
        with self._context.database.write() as connection:
            row = connection.execute(
                "SELECT instance FROM nodes WHERE name = ?", (self._node,)
            ).fetchone()
            connection.execute(
                "INSERT INTO nodes VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
                "instance = excluded.instance, last_heartbeat = excluded.last_heartbeat",
                (self._node, self._instance, now()),
            )
        if self._known and row and row["instance"] != self._instance:
            log(f"warning: another orchestrator ({row['instance']}) acts for {self._node}")
        self._known = True

    def health(self) -> Response:
        """Answer with what is orchestrated."""
        with self._context.database.read() as connection:
            (nodes,) = connection.execute("SELECT count(*) FROM nodes").fetchone()
            (services,) = connection.execute("SELECT count(*) FROM services").fetchone()
            (deployments,) = connection.execute("SELECT count(*) FROM deployments").fetchone()
        about = {
            "running": True,
            "nodes": nodes,
            "total_services": services,
            "total_deployments": deployments,
            "cluster_mode": self._context.settings.cluster_mode,
        }
        return health(self._context.release, orchestrator=about)
