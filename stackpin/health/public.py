"""Public checks: requests from this machine to the stack's public address."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from stackpin.health.trust import Trust
from stackpin.host.checks_http import judge
from stackpin.host.gate import evaluate
from stackpin.redact import redact

__all__ = ["ask", "ask_until"]

BODY_LIMIT = 1024 * 1024
PAUSE = 2.0


def ask(
    checks: Sequence[Mapping[str, Any]],
    *,
    version: str | None,
    address: str | None,
    trust: Trust,
    pass_score: float = 0.75,
) -> dict[str, Any]:
    """Ask every http check once; return a GateResult.

    `checks` are http Checks as JSON with where "public"; `version` is the one the answers must
    report; `address` is connected to instead of the URL's host, which keeps its SNI and Host.
    """
    results = [_one(check, version, address, trust) for check in checks]
    return evaluate(results, pass_score)


def ask_until(
    seconds: float,
    checks: Sequence[Mapping[str, Any]],
    **options: Any,  # noqa: ANN401 - the options of `ask`
) -> dict[str, Any]:
    """Ask as `ask` does, again every 2 s, until passed or `seconds` are over; the last result."""
    retrying = Retrying(
        retry=retry_if_result(lambda gate: not gate["passed"]),
        stop=stop_after_delay(max(0.0, seconds)),
        wait=wait_fixed(PAUSE),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
    )
    gate: dict[str, Any] = retrying(ask, checks, **options)
    return gate


class _Pointed(HTTPAdapter):
    """Connects where it is told, yet greets and verifies the name in the URL."""

    def __init__(self, name: str, trust: Trust) -> None:
        self._tls: dict[str, Any] = {"server_hostname": name, "assert_hostname": name}
        if trust.fingerprint:
            self._tls = {"server_hostname": name, "assert_fingerprint": trust.fingerprint}
        super().__init__()

    def init_poolmanager(
        self,
        connections: int,
        maxsize: int,
        block: bool = False,
        **options: Any,  # noqa: ANN401
    ) -> None:
        """Make the pool with our idea of the peer's name."""
        super().init_poolmanager(connections, maxsize, block, **{**options, **self._tls})


def _one(
    check: Mapping[str, Any], version: str | None, address: str | None, trust: Trust
) -> dict[str, Any]:
    url = str(check["url"])
    begun = time.monotonic()
    expected = f"status {check.get('status') or 200}"
    try:
        response, body = _fetch(check, url, address, trust)
        ok, expected, got = judge(
            check, response.status_code, response.headers, body, version, mask=redact
        )
    except (requests.RequestException, OSError, ValueError) as error:
        ok, got = False, f"{type(error).__name__}: {error}"
    return {
        "name": check["name"],
        "where": "public",
        "ok": ok,
        "required": bool(check.get("required", True)),
        "weight": float(check.get("weight", 1.0)),
        "seconds": round(time.monotonic() - begun, 3),
        "expected": expected,
        "got": redact(got)[:500],
        "detail": f"{check.get('method') or 'GET'} {url}" + (f" at {address}" if address else ""),
    }


def _fetch(
    check: Mapping[str, Any], url: str, address: str | None, trust: Trust
) -> tuple[requests.Response, bytes]:
    parts = urlsplit(url)
    name = parts.hostname or ""
    target = address or name
    target = f"[{target}]" if ":" in target else target
    port = f":{parts.port}" if parts.port else ""
    with requests.Session() as session:
        # Proxies and netrc of this machine have no say in what the world sees.
        session.trust_env = False
        session.mount("https://", _Pointed(name, trust))
        session.verify = False if trust.fingerprint else trust.verify
        headers = {str(key): str(value) for key, value in (check.get("headers") or {}).items()}
        headers.setdefault("Host", f"{name}{port}")
        with session.request(
            str(check.get("method") or "GET"),
            urlunsplit(parts._replace(netloc=f"{target}{port}")),
            headers=headers,
            timeout=float(check.get("timeout") or 10.0),
            allow_redirects=False,
            stream=True,
        ) as response:
            body = response.raw.read(BODY_LIMIT, decode_content=True)
            return response, body
