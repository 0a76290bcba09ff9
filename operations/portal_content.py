"""What the portal stack consists of on a host, as values."""

from __future__ import annotations

import hashlib
import ipaddress
from pathlib import Path

from operations import archives
from operations.certificates import given
from operations.crm_content import boot_unit, state_directories
from operations.entries import Directory, File, Link
from operations.provenance import git_head, who
from operations.rendering import TEMPLATES, render
from stackpin.config.common import Resolve
from stackpin.config.portal import PortalSettings, TlsFiles
from stackpin.config.release import Release
from stackpin.errors import Refused

STACK = "portal"
PACKAGES = ("ca-certificates", "curl", "iproute2", "nginx", "openssl", "python3")
ROOT = "/srv/portal"
TLS = f"/etc/stackpin/{STACK}/tls"
CERTIFICATE, KEY = f"{TLS}/portal.crt", f"{TLS}/portal.key"
SITE = "/etc/nginx/sites-available/stackpin-portal.conf"
SITE_LINK = "/etc/nginx/sites-enabled/stackpin-portal.conf"
SNIPPET = "/etc/nginx/snippets/stackpin-portal.conf"
VERSION = "v1"  # pages have no version of their own: their digest tells them apart


def entries(
    settings: PortalSettings, resolve: Resolve, root: Path
) -> list[Directory | File | Link]:
    """Every file and directory of the stack but nginx's, parents first; releases not included."""
    return [
        *state_directories(STACK),
        Directory(TLS, "0700"),
        Directory(f"/opt/{STACK}"),
        Directory(f"/opt/{STACK}/releases"),
        Directory(ROOT),
        boot_unit(),
        File(f"/etc/stackpin/{STACK}/stack.json", settings.host_stack(resolve).text(), "0600"),
        File(f"{ROOT}/maintenance.html", (TEMPLATES / "portal/maintenance.html").read_text()),
        *tls_files(settings, resolve, root),
    ]


def tls_files(settings: PortalSettings, resolve: Resolve, root: Path) -> list[File]:
    """Return the given certificate and key; nothing when the host makes its own.

    Raises Refused when the two do not belong together: nginx would not start again with them.
    """
    if not isinstance(settings.tls, TlsFiles):
        return []
    return given("portal_tls", settings.tls, resolve, root, CERTIFICATE, KEY)


def names(settings: PortalSettings, address: str | None) -> list[str]:
    """List what a self-signed certificate must cover: server name, then known addresses."""
    wanted = [settings.server_name, settings.upstream.public_address, address]
    return list(dict.fromkeys([name for name in wanted[:1] if name] + _addresses(wanted[1:])))


def site(settings: PortalSettings, tls: list[File], root: Path) -> tuple[list[File], list[Link]]:
    """Return nginx's files and the links that enable them. `tls` is what `tls_files` gave."""
    given = next((file.sha256 for file in tls if file.path == CERTIFICATE), None)
    files = []
    if settings.nginx_snippet is not None:
        path = root / Path(settings.nginx_snippet).expanduser()
        files.append(File(SNIPPET, archives.read_text(path, "portal_nginx_snippet")))
    text = render(
        "portal/site.conf.j2",
        server_name=settings.server_name,
        http_port=settings.http_port,
        https_port=settings.https_port,
        ports=settings.upstream.ports,
        slot_file=settings.upstream.slot_file,
        maintenance_files=[
            settings.upstream.maintenance_file,
            f"/var/lib/stackpin/{STACK}/maintenance",
        ],
        certificate=CERTIFICATE,
        key=KEY,
        # New content under the same path is a reason to reload, which nginx-apply sees by the text.
        certificate_sha256=given,
        root=ROOT,
        assets=f"{ROOT}/current",
        snippet=SNIPPET if settings.nginx_snippet is not None else None,
    )
    return [File(SITE, text), *files], [Link(SITE_LINK, SITE)]


def release(settings: PortalSettings, root: Path) -> tuple[Release, bytes]:
    """Return the release of the pages and its artifact, a tar that depends on contents alone.

    Raises Refused when the folder has no index.html.
    """
    folder = root / Path(settings.assets).expanduser()
    if not (folder / "index.html").is_file():
        raise Refused(
            f"portal_assets: found no index.html in {folder}; expected the folder of the portal's "
            "pages. Set portal_assets to it."
        )
    body = archives.tar(archives.folder("portal_assets", folder))
    digest = hashlib.sha256(body).hexdigest()
    environment = {"STACKPIN_VERSION": VERSION}
    made = Release.make(
        VERSION,
        digest,
        "portal.tar",
        environment,
        "",
        key="",
        git_head=git_head(root),
        created_by=who(),
    )
    return made, body


def _addresses(texts: list[str | None]) -> list[str]:
    found = []
    for text in texts:
        try:
            found.append(str(ipaddress.ip_address(text or "")))
        except ValueError:
            continue
    return found
