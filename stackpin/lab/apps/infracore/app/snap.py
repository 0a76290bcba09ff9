"""The snapshot service: its directories, its tables, and its health."""

from ...serving.http import Response
from .service import Context, Door, Service, health, routed

__all__ = ["service"]


def service(context: Context) -> Service:
    """Make the snapshot service, open at every address; OSError without its directories."""
    for folder in (context.settings.snap_repository, context.settings.snap_temporary):
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)

    def answer() -> Response:
        return health(context.release, service="infra-core-snap")

    def snapshots() -> Response:
        with context.database.read() as connection:
            rows = connection.execute(
                "SELECT snapshots.id, name, created_at FROM snapshots "
                "JOIN snapshot_plans ON snapshot_plans.id = plan_id ORDER BY snapshots.id"
            ).fetchall()
        return Response.of_json({"snapshots": [dict(row) for row in rows]})

    routes = {"/health": answer, "/api/v1/snapshots": snapshots}
    return Service((Door(context.settings.snap_port, routed(routes)),))
