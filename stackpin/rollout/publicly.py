"""Public checks of one host, with the trust and the address its settings give."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from stackpin.config.common import StackSettings
from stackpin.config.crm import CrmSettings, CrmUpstream
from stackpin.config.portal import PortalSettings
from stackpin.engine.session import Session
from stackpin.health.public import ask, ask_until
from stackpin.health.trust import choose

__all__ = ["ask_public"]


def ask_public(
    session: Session,
    host: str,
    settings: StackSettings,
    version: str | None,
    seconds: float = 0.0,
) -> dict[str, Any] | None:
    """Ask the public checks of `settings`, trying for `seconds`; None when there are none.

    `version` is what a version header must say. Returns a GateResult.
    """
    checks = [check.as_json() for check in settings.checks("public")]
    upstream = _upstream(settings)
    if not checks or upstream is None or upstream.public_url is None:
        return None
    url = urlsplit(upstream.public_url)
    trust = choose(
        upstream.public_ca,
        session.remote(host).transport,
        url.hostname or "",
        url.port or 443,
    )
    address = upstream.public_address
    if seconds > 0:
        return ask_until(seconds, checks, version=version, address=address, trust=trust)
    return ask(checks, version=version, address=address, trust=trust)


def _upstream(settings: StackSettings) -> CrmUpstream | None:
    if isinstance(settings, CrmSettings):
        return settings
    return settings.upstream if isinstance(settings, PortalSettings) else None
