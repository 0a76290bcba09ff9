"""Having a host's nginx judge the site that would be rendered, where nginx is there to do so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from facts.files import Tree
from facts.nginx import DEFAULT_LINK, PackagedDefaultSite
from facts.tls import Certificate
from operations import nginx
from operations.entries import File, Link
from operations.files import unfit
from stackpin.config.common import StackSettings
from stackpin.engine.remote import RemoteRefused
from stackpin.engine.session import Session
from stackpin.secrets import resolver

if TYPE_CHECKING:
    from stackpin.config.infracore import InfracoreFiles
    from stackpin.config.portal import PortalSettings

__all__ = ["refused_site"]

TIMEOUT = 120.0
CONFIGURATION = "/etc/nginx/nginx.conf"


class Site(NamedTuple):
    """What would be put below /etc/nginx, the files it must find, and what to correct."""

    files: list[File]
    links: list[Link]
    certificate: list[str]
    ports: Sequence[int]
    remedy: str


def refused_site(session: Session, host: str, part: str, settings: StackSettings) -> str | None:
    """Return nginx's words against the site of `part` with the remedy, "" when it is accepted.

    None where that cannot be known: the part has no site, or before the first deploy nginx is not
    there, or the certificate with its key, for whose absence alone nginx would refuse the site.
    """
    site = _site(part, settings, host)
    if site is None:
        return None
    # Debian's untouched default site gives way in a deploy; so it does here.
    packaged = session.fact(host, PackagedDefaultSite)
    gives_way = set(packaged) & set(site.ports)
    entries: list[File | Link] = [*site.files, *site.links]
    present = session.fact(host, Tree, paths=[entry.path for entry in entries])
    if not gives_way and not unfit(entries, present):
        return ""  # nothing would be put there that nginx does not serve already
    # In this order: the deploy asks for a certificate of its own making as well, nobody for nginx.
    if site.certificate:
        certificate, key = site.certificate
        there = session.fact(host, Certificate, certificate=certificate, key=key)
        if there is None or not there.matches_key:
            return None
    if not session.fact(host, Tree, paths=[CONFIGURATION]):
        return None
    wanted = nginx.payload(site.files, site.links, [DEFAULT_LINK] if gives_way else [])
    try:
        session.call(host, "nginx-test", part, wanted, timeout=TIMEOUT)
    except RemoteRefused as error:
        return f"{error.message}\n{site.remedy}"
    return ""


# Imports on use: the settings of a stack that is not asked for are a tenth of a second.
def _site(part: str, settings: Any, host: str) -> Site | None:  # noqa: ANN401 - of any stack
    if part == "portal":
        return _portal(settings, host)
    return _infracore(settings, host) if part == "infracore-files" else None


def _portal(settings: PortalSettings, host: str) -> Site:
    from operations import portal_content  # noqa: PLC0415

    root = Path.cwd()
    tls = portal_content.tls_files(settings, resolver(settings, host), root)
    files, links = portal_content.site(settings, tls, root)
    snippet = settings.nginx_snippet
    return Site(
        files,
        links,
        [portal_content.CERTIFICATE, portal_content.KEY],
        [settings.http_port, settings.https_port],
        f"Correct {snippet}." if snippet else "Correct the host's nginx configuration.",
    )


def _infracore(settings: InfracoreFiles, host: str) -> Site:
    from operations import infracore_content, infracore_edge  # noqa: PLC0415

    pair = infracore_content.given(settings, resolver(settings, host), Path.cwd())
    files, links = infracore_edge.site(settings, pair[-1] if pair else None)
    there = [infracore_edge.CERTIFICATE, infracore_edge.KEY]
    return Site(
        files,
        links,
        there if settings.tls is not None else [],
        infracore_edge.ports(settings),
        "Correct the host's nginx configuration.",
    )
