"""InfraCore: files and five services, each a part with releases and slots of its own.

    pyinfra inventories/prod deploys/infracore.py --limit infracore

Refusals come first, while nothing has been changed. A second run changes nothing. Hosts outside
the group infracore are left alone. The stackpin command plans and applies one part at a time;
stock pyinfra declares all of them, in their order.
"""

from pathlib import Path

from pyinfra.context import host, state

from operations import (
    accounts,
    certificates,
    docker_engine,
    files,
    firewall,
    generated,
    infracore_bundle,
    infracore_content,
    infracore_edge,
    infracore_service,
    nginx,
    packages,
    program,
    refusals,
    releases,
    units,
    volumes,
)
from stackpin.config.infracore import FILES, PARTS, InfracoreFiles, InfracoreService
from stackpin.config.infracore_types import SECRETS
from stackpin.config.load import load
from stackpin.config.stacks import STACKS
from stackpin.engine.bundle import host_program
from stackpin.engine.part import current
from stackpin.secrets import resolver

GROUP = STACKS[FILES].group
MOVE = (
    "Keep the port while it serves. To change it, accept an interruption: run `stackpin stop` for "
    "infracore, then deploy."
)


def deploy_files() -> None:
    """Bring account, directories, configuration, interface and nginx's site to this host."""
    with refusals.refusing():
        root = Path(state.cwd or ".")
        settings = load(InfracoreFiles, "infracore_", refusals.variables(), host.name)
        resolve = resolver(settings, host.name)
        bundle = infracore_bundle.locate(
            settings, root, production=refusals.builds_nothing(state.inventory)
        )
        release, archive = infracore_bundle.files_release(settings, bundle, root)
        entries = infracore_content.entries(settings, resolve, root)
        pair = infracore_content.given(settings, resolve, root)
        site_files, site_links = infracore_edge.site(settings, pair[-1] if pair else None)
    refusals.require_service_account("infracore_user", settings.user)
    refusals.require_no_other_deploy(FILES)
    refusals.require_ports_of_nginx(infracore_edge.ports(settings), infracore_edge.SITE_LINK)
    if settings.overlaps("console"):
        port = settings.public_port("console")
        site = infracore_edge.SITE_LINK
        refusals.require_port_kept("infracore_ports['console']", port, site, PARTS["gate"], MOVE)

    compose = settings.mode == "compose"
    packages.installed(
        name="InfraCore: packages",
        names=[*infracore_content.PACKAGES, *(settings.docker_packages if compose else [])],
    )
    if compose:
        docker_engine.daemon(
            name="InfraCore: docker's settings",
            settings=docker_engine.settings(settings.registry_mirrors),
        )
    accounts.service_account(name="InfraCore: service account", user=settings.user)
    body, sha256 = host_program()
    program.installed(name="InfraCore: host program", body=body, sha256=sha256)
    files.tree(name="InfraCore: files and directories", stack=FILES, entries=entries)
    generated.secrets(
        name="InfraCore: secrets made here",
        path=SECRETS,
        digits=infracore_content.generated(settings),
    )
    if compose:
        units.enabled(name="InfraCore: docker", units=["docker.service"], running=True)
        volumes.present(
            name="InfraCore: volume", volume=settings.volume, stack=FILES, path=settings.data_dir
        )
    files.tree(name="InfraCore: data", stack=FILES, entries=infracore_content.data(settings))
    if settings.tls == "self-signed":
        certificates.self_signed(
            name="InfraCore: certificate",
            certificate=infracore_edge.CERTIFICATE,
            key=infracore_edge.KEY,
            names=infracore_content.names(settings, host.data.get("ssh_hostname")),
        )
    units.enabled(name="InfraCore: firewall at boot", units=[firewall.UNIT.format(stack=FILES)])
    firewall.loaded(name="InfraCore: firewall", stack=FILES, text=infracore_edge.rules(settings))
    units.enabled(name="InfraCore: files back at boot", units=[f"stackpin-boot@{FILES}.service"])
    nginx.site(
        name="InfraCore: nginx site",
        stack=FILES,
        files=site_files,
        links=site_links,
        ports=infracore_edge.ports(settings),
    )
    units.enabled(name="InfraCore: nginx", units=["nginx.service"], running=True)
    releases.activate(name="InfraCore: files", stack=FILES, release=release, artifact=archive)


def deploy_service(part: str) -> None:
    """Bring one service to this host, beside the files it reads."""
    with refusals.refusing():
        root = Path(state.cwd or ".")
        settings = STACKS[part].settings(refusals.variables(), host.name)[part]
        assert isinstance(settings, InfracoreService)  # noqa: S101 - the parts beside the files
        resolve = resolver(settings, host.name)
        images = infracore_bundle.images(settings, root)
        bundle = infracore_bundle.locate(
            settings, root, production=refusals.builds_nothing(state.inventory)
        )
        read, _ = infracore_bundle.files_release(settings, bundle, root)
        artifact = bundle.binaries.get(settings.service)
        release = infracore_service.release(
            settings, resolve, artifact, images, infracore_bundle.tree(read), root
        )
        entries = infracore_service.entries(settings, resolve)
    refusals.require_no_other_deploy(part)
    refusals.require_ports_of_live(
        settings.slot_ports(settings.service), part, "infracore_ports and infracore_slots", MOVE
    )

    title = f"InfraCore {settings.service}"
    releases.needs(
        name=f"{title}: its files",
        stack=FILES,
        release=read.id,
        remedy="Deploy infracore as a whole.",
    )
    body, sha256 = host_program()
    program.installed(name=f"{title}: host program", body=body, sha256=sha256)
    files.tree(name=f"{title}: files and directories", stack=part, entries=entries)
    units.enabled(name=f"{title}: back at boot", units=[f"stackpin-boot@{part}.service"])
    releases.activate(
        name=f"{title}: release",
        stack=part,
        release=release,
        artifact=artifact.path if artifact else None,
    )


def deploy() -> None:
    """Declare the part that is asked for, or all of them."""
    asked = current()
    parts = [FILES, *PARTS.values()] if asked is None else [asked]
    for part in host.loop(parts):  # type: ignore[no-untyped-call]
        if part == FILES:
            deploy_files()
        else:
            deploy_service(part)


if GROUP in host.groups:
    deploy()
