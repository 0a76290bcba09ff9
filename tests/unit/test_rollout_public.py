"""Public checks against a real TLS server here: name, address, and whom to trust."""

from __future__ import annotations

import datetime
import hashlib
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stackpin.health.public import ask, ask_until
from stackpin.health.trust import Trust, choose

NAME = "portal.example.net"


@dataclass
class Site:
    port: int
    certificate: Path
    fingerprint: str
    hosts: list[str] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    failing: int = 0

    def check(self, **fields: object) -> dict[str, object]:
        url = f"https://{NAME}:{self.port}/healthz"
        return {"name": "p", "kind": "http", "url": url, "body": "ok", "timeout": 5.0, **fields}


def certificate(folder: Path) -> tuple[Path, Path, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, private = folder / "c.pem", folder / "k.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    der = made.public_bytes(serialization.Encoding.DER)
    return pem, private, hashlib.sha256(der).hexdigest()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    pem, key, fingerprint = certificate(tmp_path)
    found = Site(0, pem, fingerprint)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.hosts.append(self.headers["Host"])
            status = 503 if found.failing else 200
            found.failing = max(0, found.failing - 1)
            self.send_response(status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    context.sni_callback = lambda _socket, name, _context: found.names.append(name)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()


def test_another_address_keeps_name_and_host(site: Site) -> None:
    trust = Trust(str(site.certificate))
    gate = ask([site.check()], version=None, address="127.0.0.1", trust=trust)
    assert gate["passed"], gate
    assert site.hosts == [f"{NAME}:{site.port}"]
    assert site.names == [NAME]
    assert gate["results"][0]["where"] == "public"


def test_exactly_the_hosts_certificate(site: Site) -> None:
    right, wrong = Trust(True, site.fingerprint), Trust(True, "00" * 32)
    checks = [site.check()]
    assert ask(checks, version=None, address="127.0.0.1", trust=right)["passed"]
    gate = ask(checks, version=None, address="127.0.0.1", trust=wrong)
    assert not gate["passed"]
    assert "ingerprint" in gate["results"][0]["got"]


def test_a_certificate_nobody_vouches_for(site: Site) -> None:
    gate = ask([site.check()], version=None, address="127.0.0.1", trust=Trust())
    assert not gate["passed"]
    assert "certificate" in gate["results"][0]["got"].lower()


def test_a_certificate_of_another_name(site: Site) -> None:
    check = site.check(url=f"https://other.example.net:{site.port}/")
    trust = Trust(str(site.certificate))
    gate = ask([check], version=None, address="127.0.0.1", trust=trust)
    assert not gate["passed"]


def test_asked_again_until_healthy(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stackpin.health.public.PAUSE", 0.01)
    site.failing = 2
    trust = Trust(True, site.fingerprint)
    options = {"version": None, "address": "127.0.0.1", "trust": trust}
    assert ask_until(20.0, [site.check()], **options)["passed"]
    assert len(site.hosts) == 3


def test_the_last_answer_is_kept_when_time_is_up(site: Site) -> None:
    site.failing = 99
    trust = Trust(True, site.fingerprint)
    gate = ask_until(0.0, [site.check()], version=None, address="127.0.0.1", trust=trust)
    assert not gate["passed"]
    assert gate["results"][0]["got"].startswith("status 503")


def test_nothing_listens() -> None:
    check = {"name": "p", "url": f"https://{NAME}:1/", "timeout": 2.0}
    gate = ask([check], version=None, address="127.0.0.1", trust=Trust())
    assert not gate["passed"]
    assert gate["results"][0]["got"]


def test_modes(tmp_path: Path) -> None:
    from stackpin.errors import Refused

    assert choose("system", None, NAME, 443).verify is True  # type: ignore[arg-type]
    with pytest.raises(Refused, match="crm_public_ca"):
        choose(str(tmp_path / "absent"), None, NAME, 443)  # type: ignore[arg-type]
