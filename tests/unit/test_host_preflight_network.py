"""What preflight finds out about addresses: open, closed, sick, untrusted, silent."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stackpin.host import preflight_network
from stackpin.host.preflight_item import Item
from stackpin.lab.registry.tls import authority, signed


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(int(self.path.strip("/") or 200) if self.path != "/v2/" else 401)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def ask(*addresses: str, severity: str = "fail") -> dict[str, Item]:
    entries = [{"address": address, "severity": severity} for address in addresses]
    return {item.name: item for item in preflight_network.look({"endpoints": entries})}


def test_an_address_and_its_page_are_two_lines(web: ThreadingHTTPServer) -> None:
    place = f"127.0.0.1:{web.server_port}"
    found = ask(place, f"http://{place}/404", f"http://{place}/503")
    assert list(found) == [f"reach {place}", f"endpoint http://{place}/404",
                           f"endpoint http://{place}/503"]  # fmt: skip
    assert [item.ok for item in found.values()] == [True, True, False]
    assert found[f"endpoint http://{place}/503"].measured == "status 503"
    assert "connected in" in found[f"reach {place}"].measured


@pytest.mark.parametrize("severity", ["fail", "warn"])
def test_a_closed_port_is_as_bad_as_was_declared(severity: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    (item,) = ask(f"http://127.0.0.1:{port}/", severity=severity).values()
    assert (item.name, item.ok, item.severity) == (f"reach 127.0.0.1:{port}", False, severity)
    assert "refused" in item.measured


def test_an_unknown_authority_is_named_as_such(web: ThreadingHTTPServer, tmp_path: Path) -> None:
    pair, file = signed(authority("nobody's"), "127.0.0.1", "server"), tmp_path / "pair.pem"
    file.write_bytes(pair.certificate + pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    web.socket = context.wrap_socket(web.socket, server_side=True)
    name = f"https://127.0.0.1:{web.server_port}/"
    item = ask(name)[f"endpoint {name}"]
    assert not item.ok and item.measured.startswith("TLS: ")
    assert "ca-certificates" in item.remedy


def test_a_name_server_that_is_silent_costs_no_more_than_the_deadline(
    web: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, gone = socket.create_connection, threading.Event()

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        if address[0] == "silent.invalid":
            gone.wait(30)
        return real(address, timeout)

    monkeypatch.setattr(preflight_network.socket, "create_connection", connect)
    monkeypatch.setattr(preflight_network, "DEADLINE", 1.0)
    began = time.monotonic()
    found = ask("silent.invalid:1", f"127.0.0.1:{web.server_port}")
    assert time.monotonic() - began < 10
    gone.set()
    assert [item.ok for item in found.values()] == [False, True]
    assert "no answer within 1 s" in found["reach silent.invalid:1"].measured


def test_registries_that_want_a_login_are_there(web: ThreadingHTTPServer) -> None:
    place = f"127.0.0.1:{web.server_port}"
    (item,) = preflight_network.look({"registries": [{"host": place, "severity": "warn"}]})
    assert (item.name, item.ok, item.measured) == (f"registry {place}", True, "status 401")
    web.shutdown()
    web.server_close()
    (item,) = preflight_network.look({"registries": [{"host": place, "severity": "warn"}]})
    assert (item.ok, item.severity) == (False, "warn")
