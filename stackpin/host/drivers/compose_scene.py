"""A rehearsal in a container: the service <service>-rehearsal of a release's compose file.

That file mounts {data}/rehearsal, where the copies are, in place of what is live.
"""

from __future__ import annotations

import json
from pathlib import Path

from stackpin.host.drivers import compose_services as services
from stackpin.host.drivers import docker
from stackpin.host.errors import refused
from stackpin.host.rehearsal import SLOT
from stackpin.host.stack import SLOTS, Stack

__all__ = ["hand_over", "known", "left", "put_up", "take_down"]


def known(stack: Stack, release: str) -> bool:
    """Tell whether the release's file has a service to rehearse with."""
    told = services.compose(stack, release, f"--profile={SLOT}", "config", "--services")
    return services.of_slot(stack, SLOT) in told.out.split()


def put_up(stack: Stack, release: str) -> None:
    """Make the container, look at what it may write, and begin to start it."""
    services.create(stack, release, services.of_slot(stack, SLOT), (*SLOTS, SLOT))
    made = docker.containers(stack, SLOT)[0]
    _require_apart(stack, made.id, release)
    docker.docker("start", made.id, timeout=60)


def _require_apart(stack: Stack, container: str, release: str) -> None:
    """Refuse a compose file that would let the rehearsal write to the live database."""
    if not stack.database:
        return
    told = docker.docker("inspect", "--format={{json .Mounts}}", container).out
    live = Path(stack.database).parent
    for mount in json.loads(told or "[]"):
        source = Path(str(mount.get("Source")))
        if mount.get("RW") and (live.is_relative_to(source) or source.is_relative_to(live)):
            raise refused(
                f"release {release}: service {services.of_slot(stack, SLOT)} mounts {source}, "
                f"where the live database is, expected {stack.data}/rehearsal; correct its "
                "compose file",
            )


def take_down(stack: Stack) -> None:
    """Remove the container, whatever it does."""
    for item in docker.containers(stack, SLOT):
        docker.docker("rm", "--force", "--volumes", item.id, timeout=120)


def left(stack: Stack) -> bool:
    """Tell whether the container is there."""
    return bool(docker.containers(stack, SLOT))


def hand_over(stack: Stack, path: Path) -> None:
    """Let whatever user the image has write to a copy; on the host nobody gets that far."""
    home = stack.at(stack.data)
    home.chmod(home.stat().st_mode & 0o770)
    path.chmod(0o777 if path.is_dir() else 0o666)
