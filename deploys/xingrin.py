"""XingRin's server: database, queue, API, interface and the agent of its own host.

    pyinfra inventories/prod deploys/xingrin.py --limit xingrin

Refusals come first, while nothing has been changed. A second run changes nothing. Hosts outside
the group xingrin are left alone.
"""

from pathlib import Path

from pyinfra.context import host, state

from operations import (
    certificates,
    docker_engine,
    files,
    firewall,
    generated,
    packages,
    program,
    refusals,
    releases,
    units,
    xingrin_content,
    xingrin_fleet,
)
from stackpin.config.load import load
from stackpin.config.xingrin import XingrinServer
from stackpin.config.xingrin_fleet import SERVER_GROUP
from stackpin.engine.bundle import host_program
from stackpin.lockfile import pinned
from stackpin.secrets import resolver

STACK = xingrin_content.STACK


def deploy() -> None:
    """Bring the server stack to this host."""
    with refusals.refusing():
        root = Path(state.cwd or ".")
        settings = load(XingrinServer, "xingrin_", refusals.variables(), host.name)
        resolve = resolver(settings, host.name)
        nodes = xingrin_fleet.node_addresses(xingrin_fleet.require_fleet())
        images = pinned(settings, root)
        release = xingrin_content.release(settings, resolve, images, root, nodes=bool(nodes))
        entries = xingrin_content.entries(settings, resolve, root, images, nodes)
    refusals.require_no_other_deploy(STACK)
    xingrin_fleet.require_secrets_of_database(settings)

    packages.installed(
        name="XingRin: packages",
        names=[*xingrin_content.PACKAGES, *settings.docker_packages, *settings.shared.packages],
    )
    docker_engine.daemon(
        name="XingRin: docker's settings",
        settings=docker_engine.settings(settings.registry_mirrors),
    )
    body, sha256 = host_program()
    program.installed(name="XingRin: host program", body=body, sha256=sha256)
    files.tree(name="XingRin: files and directories", stack=STACK, entries=entries)
    digits, same = xingrin_content.generated(settings)
    generated.secrets(
        name="XingRin: secrets made here", path=xingrin_content.SECRETS, digits=digits, same=same
    )
    certificates.self_signed(
        name="XingRin: certificate",
        certificate=xingrin_content.CERTIFICATE,
        key=xingrin_content.KEY,
        names=[settings.public_host],
        container=(STACK, "nginx"),
    )
    units.enabled(name="XingRin: firewall at boot", units=[firewall.UNIT.format(stack=STACK)])
    firewall.loaded(
        name="XingRin: firewall", stack=STACK, text=xingrin_content.rules(settings, nodes)
    )
    units.enabled(name="XingRin: docker", units=["docker.service"], running=True)
    units.enabled(name="XingRin: back at boot", units=[f"stackpin-boot@{STACK}.service"])
    releases.activate(name="XingRin: release", stack=STACK, release=release)


if SERVER_GROUP in host.groups:
    deploy()
