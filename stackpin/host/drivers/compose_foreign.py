"""What others put into a compose project, or let change containers behind everybody's back."""

from __future__ import annotations

from stackpin.host.drivers import compose_services as services
from stackpin.host.drivers import docker
from stackpin.host.drivers.docker import LABELS, Container
from stackpin.host.errors import refused
from stackpin.host.stack import Stack

__all__ = ["asked_for_updates", "foreign", "require_agent_name", "require_project", "updaters"]

SOCKETS = ("/var/run/docker.sock", "/run/docker.sock")
UPDATE_LABEL = "com.centurylinklabs.watchtower.enable"
UPDATER_LABEL = "com.centurylinklabs.watchtower"  # of the updater's own image


def foreign(stack: Stack) -> list[Container]:
    """List the containers of the stack's project that no stack of ours made."""
    project = f"--filter=label={services.PROJECT_LABEL}={services.project(stack)}"
    ids = docker.docker("ps", "--all", "--quiet", "--no-trunc", project).out.split()
    ours = {item.id for item in docker.containers(stack)}
    others = [item for number in ids if number not in ours for item in docker.by_id(number)]
    return [item for item in others if LABELS["stack"] not in item.labels]


def asked_for_updates(stack: Stack) -> list[Container]:
    """List the stack's containers with a label that lets an updater replace them."""
    found = docker.containers(stack)
    return [item for item in found if item.labels.get(UPDATE_LABEL, "false").lower() != "false"]


def updaters() -> list[tuple[str, str]]:
    """List (name, image) of the updaters on this host: Watchtower with docker's socket."""
    filters = [f"--filter=volume={path}" for path in SOCKETS]
    row = '{{.Names}}\t{{.Image}}\t{{.Label "' + UPDATER_LABEL + '"}}'
    told = docker.docker("ps", "--all", *filters, f"--format={row}").out
    found = [line.split("\t") for line in told.splitlines() if line.count("\t") == 2]
    return [
        (name, image)
        for name, image, label in found
        if label.strip() == "true" or "watchtower" in image.rpartition("/")[2]
    ]


def require_project(stack: Stack) -> None:
    """Refuse when a foreign container is in our project.

    Compose takes every container of its project's name for its own, and would replace it.
    """
    found = foreign(stack)
    if found:
        names = ", ".join(item.name for item in found)
        raise refused(
            f"compose project {services.project(stack)}: found {names}, not made by Stackpin; "
            "compose would replace them. Give the stack a project name of its own, or save their "
            "data and remove them",
            containers=[item.name for item in found],
        )


def require_agent_name(stack: Stack) -> None:
    """Refuse when a container of another project holds the one name that XingRin fixes."""
    name = str(services.settings(stack).get("agent_name") or "xingrin-agent")
    found = docker.by_name(name)
    if found is None:
        return
    theirs = found.labels.get(services.PROJECT_LABEL)
    if theirs != services.project(stack):
        raise refused(
            f"container {name}: is not of compose project {services.project(stack)} (its project: "
            f"{theirs or 'none'}); stop and remove it, or give the stack its project name",
            container=name,
        )
