"""XingRin's nodes: docker, registration with the server, the agent.

    pyinfra inventories/prod deploys/workers.py --limit workers

Refusals come first, while nothing has been changed. A second run changes nothing. Hosts outside
the group workers are left alone.
"""

from pathlib import Path

from pyinfra.context import host, state

from operations import (
    docker_engine,
    files,
    packages,
    program,
    refusals,
    registration,
    releases,
    units,
    worker_content,
    xingrin_content,
    xingrin_fleet,
)
from stackpin.config.load import load
from stackpin.config.xingrin import XingrinWorker
from stackpin.config.xingrin_fleet import WORKER_GROUP, node_address
from stackpin.engine.bundle import host_program
from stackpin.lockfile import pinned
from stackpin.secrets import resolver

STACK = worker_content.STACK


def deploy() -> None:
    """Bring agent and registration to this node."""
    with refusals.refusing():
        root = Path(state.cwd or ".")
        settings = load(XingrinWorker, "xingrin_", refusals.variables(), host.name)
        resolve = resolver(settings, host.name)
        address = node_address(settings, xingrin_fleet.require_fleet()[host.name].address)
        own = settings.own_images()
        images = {role: ref for role, ref in pinned(settings, root).items() if role in own}
        release = worker_content.release(settings, images, root)
        entries = worker_content.entries(settings, resolve, root)
        ca = xingrin_content.read_pem("xingrin_public_ca", settings.public_ca, root)
    refusals.require_no_other_deploy(STACK)

    packages.installed(
        name="Node: packages",
        names=[*worker_content.PACKAGES, *settings.docker_packages, *settings.shared.packages],
    )
    docker_engine.daemon(
        name="Node: docker's settings", settings=docker_engine.settings(settings.registry_mirrors)
    )
    body, sha256 = host_program()
    program.installed(name="Node: host program", body=body, sha256=sha256)
    files.tree(name="Node: files and directories", stack=STACK, entries=entries)
    units.enabled(name="Node: docker", units=["docker.service"], running=True)
    units.enabled(name="Node: back at boot", units=[f"stackpin-boot@{STACK}.service"])
    registration.registered(
        name="Node: registration",
        server_url=settings.server_url,
        node=settings.node_name or host.name,
        address=address,
        ssh_port=int(host.data.get("ssh_port") or 22),
        username=str(host.data.get("ssh_user") or "root"),
        ca=ca,
    )
    releases.activate(name="Node: agent", stack=STACK, release=release)


if WORKER_GROUP in host.groups:
    deploy()
