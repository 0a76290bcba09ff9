"""What an uninstall removes of docker's: our containers by their labels, and their images."""

from __future__ import annotations

from stackpin.host import releases
from stackpin.host.drivers import docker
from stackpin.host.drivers.shared import halt
from stackpin.host.errors import HostError, failed
from stackpin.host.images import forget, present
from stackpin.host.stack import Stack

__all__ = ["listed", "remove"]

Item = dict[str, str]


def listed(stack: Stack) -> list[Item]:
    """Return [{container, id, why} or {image, why}]; [] for stacks without.

    Volumes and networks are never listed: they hold data, or are others' too.
    """
    if not stack.installed or not stack.uses_images:
        return []
    try:
        found = [
            {"container": item.name, "id": item.id, "why": "made by Stackpin for this stack"}
            for item in docker.containers(stack)
        ]
        wanted = {
            reference
            for item in releases.describe(stack)
            for reference in releases.images(stack, item["id"])
        }
        images = [
            {"image": reference, "why": "of a release of this stack"}
            for reference in sorted(wanted)
            if present(reference) is not None
        ]
    except HostError as error:
        if "no such program" in error.message:
            return []
        raise
    return found + images


def remove(item: Item) -> bool:
    """Remove a listed item; False when it is not one of docker's. Raises HostError."""
    if "container" in item:
        for found in docker.by_id(item["id"]):
            halt(found)
        docker.docker("rm", "--force", "--volumes", item["id"], check=False, timeout=60)
        if docker.by_id(item["id"]):
            raise failed(f"container {item['container']} does not go")
        return True
    if "image" in item:
        # One that somebody else's container uses, or names otherwise, stays: that is fine.
        forget([item["image"]])
        return True
    return False
