"""The seven answers that show a healthy CRM: five of a slot, two of the public portal."""

from __future__ import annotations

from stackpin.config.checks import HttpCheck

_SLOT = "http://127.0.0.1:{port}"
_BEARER = {"Authorization": "Bearer {env:SUB2API_CRM_ADMIN_TOKEN}"}


def slot() -> list[HttpCheck]:
    """List checks asked of a slot on its own port, from the host."""
    return [
        HttpCheck(
            name="healthz", url=f"{_SLOT}/healthz", body="ok", version_header="X-App-Version"
        ),
        # An empty list in json_has is any list: a fresh CRM has no packs, an old one many.
        HttpCheck(name="packs", url=f"{_SLOT}/api/packs", headers=_BEARER, json_has={"packs": []}),
        HttpCheck(name="hosts", url=f"{_SLOT}/api/hosts", headers=_BEARER, json_has={"hosts": []}),
        HttpCheck(name="packs-without-token", url=f"{_SLOT}/api/packs", status=401),
        # Not every build has /metrics: without it the score still passes.
        HttpCheck(
            name="metrics",
            url=f"{_SLOT}/metrics",
            required=False,
            series=["active_hosts", "active_providers", "db_connections_active"],
        ),
    ]


def public(url: str) -> list[HttpCheck]:
    """List checks asked from outside; `url` is the public https URL without a final slash."""
    return [
        HttpCheck(name="public-portal", where="public", url=f"{url}/portal/", timeout=10.0),
        HttpCheck(
            name="public-healthz",
            where="public",
            url=f"{url}/portal-admin-api/healthz",
            body="ok",
            timeout=10.0,
        ),
    ]
