"""Asking the hosts whether a deploy could work, before anything is touched."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from facts.stacks import SlotPorts
from operations import ports
from stackpin.artifacts import Artifact
from stackpin.config.common import StackSettings
from stackpin.config.crm import CrmSettings
from stackpin.config.fields import RegistryFields
from stackpin.config.needs import merged
from stackpin.config.portal import PortalSettings
from stackpin.config.upstream import CrmUpstream
from stackpin.engine.deploys import explore
from stackpin.engine.gather.memory import Call
from stackpin.engine.session import Session
from stackpin.errors import Refused, StackpinError
from stackpin.health.trust import served_certificate
from stackpin.rollout.preflighting_nginx import refused_site
from stackpin.rollout.pulling import registry
from stackpin.secrets import resolver

__all__ = ["HOST", "Preflight", "ask_hosts", "complain", "questions"]

TIMEOUT = 120.0
HOST = "host"
"""Stands among a host's stacks for the host itself; no stack has this name."""
Preflight = dict[str, dict[str, list[dict[str, Any]]]]


def ask_hosts(
    session: Session,
    settings: Mapping[str, Mapping[str, StackSettings]],
    artifacts: Mapping[str, Mapping[str, Artifact]],
    files: Mapping[str, Sequence[str]] = MappingProxyType({}),
    data: Mapping[str, Any] = MappingProxyType({}),
) -> Preflight:
    """Return the items of the host's `preflight` by host and stack part, under HOST its own.

    Each item is {name, ok, severity: fail|warn, measured, expected, remedy}. Where a plan is to
    follow, `files` and `data` are those of make_plan: all it needs is asked in the same exec.
    """
    asked = {
        host: questions(
            host, settings[host], {part: one.size for part, one in artifacts.get(host, {}).items()}
        )
        for host in session.hosts
    }
    if files:
        explore(session, files, data, {host: list(settings[host]) for host in asked}, _calls(asked))

    def one(host: str) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {HOST: []}
        for part, payload in asked[host].items():
            own = settings[host][part]
            answer = session.call(host, "preflight", part, payload, timeout=TIMEOUT)
            found[part] = [_configuration(own)]
            for item in answer["items"]:
                found[HOST if item["scope"] == "host" else part].append(
                    {key: value for key, value in item.items() if key != "scope"}
                )
            found[part] += _nginx(session, host, part, own)
            if "registry" in payload["needs"]:
                _soften(session, host, part, found[part])
        for part, own in settings[host].items():
            if isinstance(own, CrmSettings | PortalSettings):
                upstream = own.upstream if isinstance(own, PortalSettings) else own
                found[part] += _ports(session, host, upstream)
                break  # the same variable for both
        if "portal" not in settings[host]:
            for part, own in settings[host].items():
                found[part] += _portal(session, host, own)
        return found

    return session.map(one).all()


def _calls(asked: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, list[Call]]:
    """Return all that is asked of each host's program until it is planned."""
    return {
        host: [
            call
            for part, payload in parts.items()
            for call in (("preflight", part, payload), ("state", part, {}))
        ]
        for host, parts in asked.items()
    }


def questions(
    host: str, parts: Mapping[str, StackSettings], sizes: Mapping[str, int]
) -> dict[str, dict[str, Any]]:
    """Return the payload of the host's `preflight` for each of its parts.

    `sizes` are those of their artifacts in bytes, 0 where none is sent. What concerns the host is
    asked once, with the first part: six parts are one host.
    """
    needs = {part: own.needs(sizes.get(part, 0)) for part, own in parts.items()}
    shared = merged([*(own.shared.needs() for own in parts.values()), *needs.values()])
    pulling = _pulling(parts, needs)
    found: dict[str, dict[str, Any]] = {}
    for part, own in parts.items():
        wanted = {**needs[part], **shared, "own": list(parts), "now": time.time()}
        if isinstance(own, RegistryFields):
            wanted |= own.secret_needs(resolver(own, host))
            if pulling.get(own.registry) == part:
                wanted["registry"] = {key: registry(own, host)[key] for key in ("host", "ca")}
        found[part] = {"needs": wanted, "system": not found}
    return found


def _pulling(
    parts: Mapping[str, StackSettings], needs: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    """Return which part asks a registry: the first that pulls from it."""
    found: dict[str, str] = {}
    for part, own in parts.items():
        if isinstance(own, RegistryFields) and needs[part].get("docker"):
            found.setdefault(own.registry, part)
    return found


def _soften(session: Session, host: str, part: str, items: list[dict[str, Any]]) -> None:
    """Let a registry out of reach be a warning where the images may be there already.

    Whether they are, the pull finds out, which refuses as well.
    """
    silent = [item for item in items if item["name"].startswith("registry ") and not item["ok"]]
    if silent and session.call(host, "state", part, timeout=TIMEOUT).get("live_release"):
        for item in silent:
            item["severity"] = "warn"


def complain(preflight: Preflight) -> None:
    """Raise Refused naming every failed item of severity fail."""
    lines = [
        f"{host}: {item['name']}: found {item['measured']}, expected {item['expected']}. "
        f"{item['remedy']}"
        for host, parts in preflight.items()
        for items in parts.values()
        for item in items
        if not item["ok"] and item["severity"] == "fail"
    ]
    if lines:
        raise Refused("\n".join(dict.fromkeys(lines)))


def _ports(session: Session, host: str, upstream: CrmUpstream) -> list[dict[str, Any]]:
    """Compare the declared ports with those a live release has."""
    state = session.call(host, "state", "crm", timeout=TIMEOUT)
    if not ports.serves(state):
        return []
    deployed = session.fact(host, SlotPorts, stack="crm")
    found = ports.conflict(state, deployed, upstream.ports)
    if found is None:
        return []
    return [_item(ports.VARIABLE, found.found, found.expected, found.remedy)]


def _portal(session: Session, host: str, settings: StackSettings) -> list[dict[str, Any]]:
    """Look for the TLS which the CRM's public checks will go through, where it is not deployed."""
    if not isinstance(settings, CrmSettings) or settings.public_url is None:
        return []
    url = urlsplit(settings.public_url)
    if settings.public_ca != "host" or not settings.checks("public"):
        return []
    try:
        served_certificate(session.remote(host).transport, url.hostname or "", url.port or 443)
    except StackpinError as error:
        remedy = "Deploy portal first, or site, or unset crm_public_url."
        return [_item("crm_public_url", str(error), "the portal's nginx with TLS", remedy)]
    return []


def _configuration(settings: StackSettings) -> dict[str, Any]:
    """Tell what was validated here; a mistake in it was refused before any host was asked."""
    return _item("configuration", settings.configuration(), "every variable valid", ok=True)


def _item(
    name: str, measured: str, expected: str, remedy: str = "", *, ok: bool = False
) -> dict[str, Any]:
    return {
        "name": name,
        "ok": ok,
        "severity": "fail",
        "measured": measured,
        "expected": expected,
        "remedy": remedy,
    }


def _nginx(session: Session, host: str, part: str, settings: StackSettings) -> list[dict[str, Any]]:
    """Try the site that would be rendered, where nginx is there to judge it."""
    found = refused_site(session, host, part, settings)
    if found is None:
        return []
    item = _item("nginx site", "accepted by nginx -t", "accepted by nginx -t", ok=True)
    if found:
        measured, _, remedy = found.rpartition("\n")
        item |= {"ok": False, "measured": measured, "remedy": remedy}
    return [item]
