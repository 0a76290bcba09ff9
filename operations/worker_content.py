"""What a node consists of, as values: docker, two directories, one agent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from operations import docker_engine
from operations.containers import Container, image_release
from operations.crm_content import boot_unit, state_directories
from operations.entries import Directory, File, Link
from operations.xingrin_content import data_directories, pull_secrets, roots
from stackpin.config.common import Resolve
from stackpin.config.release import Release
from stackpin.config.xingrin import AGENT, XingrinWorker

STACK = "xingrin-worker"
PACKAGES = ("ca-certificates", "curl", "iproute2", "python3")


def entries(settings: XingrinWorker, resolve: Resolve, root: Path) -> list[Directory | File | Link]:
    """Every file and directory of a node, parents first; releases not included."""
    login, ca = pull_secrets(settings, resolve, root)
    return [
        *state_directories(STACK),
        *docker_engine.registry_entries(settings.registry, login, ca),
        Directory(f"/etc/stackpin/{STACK}/slots", "0700"),
        *roots(STACK),
        *data_directories(settings),
        boot_unit(),
        File(f"/etc/stackpin/{STACK}/stack.json", settings.host_stack().text(), "0600"),
    ]


def agent(image: str) -> Container:
    """Return the agent as the product itself starts it: these flags and no others."""
    return Container(name=AGENT, image=image, volumes=["/proc:/host/proc:ro"])


def release(settings: XingrinWorker, images: Mapping[str, str], root: Path) -> Release:
    """Return the pinned release: the agent, and the image of the tasks it is sent."""
    return image_release(
        settings.version,
        "container.json",
        agent(images["agent"]).text(),
        settings.environment(),
        images,
        "",
        root,
    )
