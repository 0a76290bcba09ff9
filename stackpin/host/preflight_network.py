"""Whether this host reaches what was declared: addresses, web servers, registries; side by side."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from stackpin.host.preflight_item import Item

__all__ = ["look", "registry"]

TIMEOUT = 8.0  # seconds for one answer
DEADLINE = 20.0  # seconds for all of them: looking up a name knows no timeout
HUB = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}
LOOPBACK = ("localhost", "127.0.0.1")


def look(needs: Mapping[str, Any]) -> Iterator[Item]:
    """Ask needs.endpoints ([{address, severity}]) and .registries ([{host, ca, severity}])."""
    asked: dict[str, Callable[[], list[Item]]] = {}
    for entry in needs.get("endpoints") or []:
        asked[str(entry["address"])] = lambda entry=entry: _endpoint(entry)  # type: ignore[misc]
    for entry in needs.get("registries") or []:
        asked[str(entry["host"])] = lambda entry=entry: [registry(entry)]  # type: ignore[misc]
    answers: dict[str, list[Item]] = {}

    def ask(name: str) -> None:
        answers[name] = asked[name]()

    threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in asked]
    for thread in threads:
        thread.start()
    end = time.monotonic() + DEADLINE
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    late = f"no answer within {DEADLINE:g} s; is a name server reachable?"
    items = {
        item.name: item
        for name in asked
        for item in answers.get(name) or [Item(f"reach {name}", False, late, "an answer")]
    }
    yield from items.values()


def _endpoint(entry: Mapping[str, Any]) -> list[Item]:
    address, severity = str(entry["address"]), str(entry.get("severity") or "fail")
    url = urlsplit(address if "://" in address else f"tcp://{address}")
    host, port = url.hostname or "", url.port or (80 if url.scheme == "http" else 443)
    name, expected = f"reach {host}:{port}", f"a connection within {TIMEOUT:g} s"
    began = time.monotonic()
    try:
        socket.create_connection((host, port), TIMEOUT).close()
    except OSError as error:
        remedy = f"See that {host} runs, and which firewall or proxy is between."
        return [Item(name, False, str(error), expected, remedy, severity)]
    measured = f"connected in {1000 * (time.monotonic() - began):.0f} ms"
    reached = [Item(name, True, measured, expected, "", severity)]
    return reached if url.scheme == "tcp" else [*reached, _web(url, port, severity)]


def _web(url: SplitResult, port: int, severity: str) -> Item:
    """Ask for the page: any answer but a server's own failure shows that it can be had."""
    shown = url.geturl()
    name, expected = f"endpoint {shown}", "a status below 500"
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    try:
        status, tls = _status(url.hostname or "", port, path, secure=url.scheme == "https")
    except ssl.SSLError as error:
        remedy = "Install the authority of its certificate on the host (ca-certificates)."
        return Item(name, False, f"TLS: {error}", f"{expected} over TLS", remedy, severity)
    except (OSError, http.client.HTTPException) as error:
        remedy = "Look at the server's log, and at a proxy between."
        return Item(name, False, str(error) or type(error).__name__, expected, remedy, severity)
    measured = f"status {status}" + (f", {tls}" if tls else "")
    return Item(name, status < 500, measured, expected, "Look at the server's log.", severity)


def registry(entry: Mapping[str, Any]) -> Item:
    """Ask a registry's /v2/: {host: "name:port", ca: PEM or None, severity?}."""
    name = str(entry.get("host") or "docker.io")
    severity = str(entry.get("severity") or "fail")
    label, expected = f"registry {name}", "an answer of /v2/ over TLS"
    bare, _, port = HUB.get(name, name).partition(":")
    secure = bare not in LOOPBACK
    try:
        number = int(port or (443 if secure else 80))
        status, _tls = _status(bare, number, "/v2/", secure=secure, ca=entry.get("ca"))
    except ssl.SSLError as error:
        remedy = "Give the registry's CA; its variable ends in _registry_ca."
        return Item(label, False, f"TLS: {error}", expected, remedy, severity)
    except (OSError, http.client.HTTPException) as error:
        remedy = f"See that {name} runs and that this host reaches it."
        return Item(label, False, str(error), expected, remedy, severity)
    # 401 is how a registry that wants a login says it is there.
    ok = status in (200, 401)
    remedy = "Look at the registry's log."
    return Item(label, ok, f"status {status}", expected, remedy, severity)


def _status(
    host: str, port: int, path: str, *, secure: bool, ca: str | None = None
) -> tuple[int, str]:
    """Return the status of GET `path`, and the TLS version spoken."""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    if secure:
        context = ssl.create_default_context(cadata=ca or None)
        connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=context)
    try:
        connection.request("GET", path, headers={"User-Agent": "stackpin"})
        tls = connection.sock.version() if isinstance(connection.sock, ssl.SSLSocket) else None
        return connection.getresponse().status, tls or ""
    finally:
        connection.close()
