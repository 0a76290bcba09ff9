"""What is in front of InfraCore's services: nginx where slots overlap, and who reaches a port."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from operations import firewall
from operations.entries import File, Link
from operations.rendering import render
from stackpin.config.infracore import FILES, PARTS, InfracoreBase
from stackpin.config.infracore_types import ETC, HOME, METRICS, SERVICES, SITE, SITE_LINK, Service

__all__ = ["CERTIFICATE", "KEY", "SITE_LINK", "TLS", "ports", "rules", "site"]

TLS = f"{ETC}/tls"
CERTIFICATE, KEY = f"{TLS}/fullchain.pem", f"{TLS}/privkey.pem"


@dataclass(frozen=True)
class Front:
    """One server of nginx: what it listens on, and the slots of the service behind it."""

    service: Service
    listen: list[str]
    listen_tls: list[str]
    public: bool
    slots: dict[str, int]
    slot_file: str
    maintenance_files: list[str]


def site(settings: InfracoreBase, certificate: File | None) -> tuple[list[File], list[Link]]:
    """Return nginx's file and the link that enables it. `certificate` is the given one, if any."""
    text = render(
        "infracore/site.conf.j2",
        fronts=[front for service in SERVICES if (front := _front(settings, service))],
        certificate=CERTIFICATE,
        key=KEY,
        # New content under the same path is a reason to reload, which nginx-apply sees by the text.
        certificate_sha256=certificate.sha256 if certificate else None,
        root=HOME,
    )
    return [File(SITE, text)], [Link(SITE_LINK, SITE)]


def ports(settings: InfracoreBase) -> list[int]:
    """List the ports nginx listens on."""
    tls = [settings.ports.gate_tls] if settings.tls is not None else []
    return sorted(
        [*(settings.public_port(name) for name in SERVICES if settings.overlaps(name)), *tls]
    )


def rules(settings: InfracoreBase) -> str:
    """Text of the firewall: the ports that are nobody's but this host's.

    The product lets only console choose its address: without these rules every slot, and the
    figures of gate, could be asked from outside past nginx, its TLS and its maintenance.
    """
    closed: set[int] = set()
    for service in SERVICES:
        own = settings.slot_ports(service).as_list()
        closed.update(own)
        if service == "gate":
            closed.update(port + METRICS for port in own)
        if not settings.overlaps(service) and (service == "gate" or service in settings.expose):
            closed.discard(settings.public_port(service))
    return firewall.rules(FILES, sorted(closed), [], [])


def _front(settings: InfracoreBase, service: Service) -> Front | None:
    """Return the server for a service; None where the service itself is what clients reach."""
    tls = settings.ports.gate_tls if service == "gate" and settings.tls is not None else None
    overlaps = settings.overlaps(service)
    if not overlaps and tls is None:
        return None
    public = service == "gate" or service in settings.expose
    port = settings.public_port(service)
    slots: dict[str, Any] = settings.slot_ports(service).model_dump()
    part = PARTS[service]
    return Front(
        service,
        _addresses(port, public=public) if overlaps else [],
        _addresses(tls, public=True) if tls is not None else [],
        public,
        slots,
        f"/var/lib/stackpin/{part}/live.green",
        [f"/var/lib/stackpin/{name}/maintenance" for name in (part, FILES)],
    )


def _addresses(port: int, *, public: bool) -> list[str]:
    return [str(port), f"[::]:{port}"] if public else [f"127.0.0.1:{port}"]
