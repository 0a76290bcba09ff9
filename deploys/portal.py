"""The portal: static pages, and nginx with TLS in front of them and of the CRM.

    pyinfra inventories/prod deploys/portal.py

Refusals come first, while nothing has been changed. A second run changes nothing.
"""

from pathlib import Path

from pyinfra.context import host, state

from operations import (
    certificates,
    files,
    nginx,
    packages,
    portal_content,
    program,
    refusals,
    releases,
    units,
)
from stackpin.config.load import load
from stackpin.config.portal import PortalSettings
from stackpin.engine.bundle import host_program
from stackpin.secrets import resolver

STACK = portal_content.STACK

with refusals.refusing():
    root = Path(state.cwd or ".")
    settings = load(PortalSettings, "portal_", refusals.variables(), host.name)
    resolve = resolver(settings, host.name)
    entries = portal_content.entries(settings, resolve, root)
    site_files, site_links = portal_content.site(
        settings, portal_content.tls_files(settings, resolve, root), root
    )
    release, pages = portal_content.release(settings, root)
refusals.require_no_other_deploy(STACK)
refusals.require_ports_of_live(settings.upstream.ports)

packages.installed(
    name="Portal: packages", names=[*portal_content.PACKAGES, *settings.shared.packages]
)
body, sha256 = host_program()
program.installed(name="Portal: host program", body=body, sha256=sha256)
files.tree(name="Portal: files and directories", stack=STACK, entries=entries)
if settings.tls == "self-signed":
    certificates.self_signed(
        name="Portal: certificate",
        certificate=portal_content.CERTIFICATE,
        key=portal_content.KEY,
        names=portal_content.names(settings, host.data.get("ssh_hostname")),
    )
units.enabled(name="Portal: back at boot", units=[f"stackpin-boot@{STACK}.service"])
nginx.site(
    name="Portal: nginx site",
    stack=STACK,
    files=site_files,
    links=site_links,
    ports=[settings.http_port, settings.https_port],
)
units.enabled(name="Portal: nginx", units=["nginx.service"], running=True)
releases.activate(name="Portal: pages", stack=STACK, release=release, artifact=pages)
