"""A registry over TLS, in threads of this process, that can be told to misbehave."""

from __future__ import annotations

import base64
import datetime
import hashlib
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def sha(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()


def certificate(folder: Path, address: str = "127.0.0.1") -> tuple[Path, Path]:
    """Make a self-signed certificate for an address; return (certificate, key) files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, folder.name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), False
        )
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ca.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "ca.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder / "ca.crt", folder / "ca.key"


class FakeRegistry:
    """Content and behaviour; `faults` are (status, headers) answered first, in turn."""

    def __init__(self) -> None:
        self.manifests: dict[str, dict[str, tuple[bytes, str]]] = {}
        self.blobs: dict[str, bytes] = {}
        self.login: tuple[str, str] | None = None
        self.bearer = False
        self.faults: list[tuple[int, dict[str, str]]] = []
        self.sleep = 0.0
        self.drip = 0.0
        self.no_digest = False
        self.lie: str | None = None
        self.redirect: str | None = None
        self.page = 1000
        self.seen: list[tuple[str, str, str | None]] = []
        self.tokens = 0
        self.address = ""

    def push(
        self,
        repository: str,
        tag: str,
        content: str = "",
        *,
        platforms: tuple[str, ...] = (),
        created: str = "2026-01-02T03:04:05Z",
        size: int = 1000,
    ) -> str:
        """Put an image there, an index when `platforms` are given; return its digest."""
        held = self.manifests.setdefault(repository, {})

        def one(platform: str) -> bytes:
            system, _, machine = platform.partition("/")
            config = {"os": system, "architecture": machine, "created": created, "x": content}
            blob = json.dumps(config).encode()
            self.blobs[sha(blob)] = blob
            body = {
                "schemaVersion": 2,
                "mediaType": DOCKER,
                "config": {"size": len(blob), "digest": sha(blob)},
                "layers": [{"size": size, "digest": sha(content.encode())}],
            }
            return json.dumps(body).encode()

        if not platforms:
            body = one("linux/amd64")
            held[tag] = held[sha(body)] = (body, DOCKER)
            return sha(body)
        children = []
        for platform in platforms:
            body = one(platform)
            held[sha(body)] = (body, DOCKER)
            system, _, machine = platform.partition("/")
            children.append(
                {"digest": sha(body), "platform": {"os": system, "architecture": machine}}
            )
        children.append({"digest": sha(b""), "platform": {"os": "unknown"}})
        body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}).encode()
        held[tag] = held[sha(body)] = (body, INDEX)
        return sha(body)


@contextmanager
def serving(folder: Path) -> Iterator[FakeRegistry]:
    """Run a fake registry; its certificate is folder/ca.crt."""
    crt, key = certificate(folder)
    fake = FakeRegistry()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(fake))
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    fake.address = f"127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    # Bundles are read for every connection: here one stranger's certificate, not hundreds.
    bundle, _ = certificate(folder / "stranger")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
            patch.setenv("SSL_CERT_FILE", str(bundle))
            yield fake
    finally:
        server.shutdown()
        server.server_close()


def _handler(fake: FakeRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def reply(
            self, status: int, body: bytes = b"", headers: dict[str, str] | None = None
        ) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            if fake.drip:
                for at in range(len(body)):
                    self.wfile.write(body[at : at + 1])
                    time.sleep(fake.drip)
            else:
                self.wfile.write(body)

        def error(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
            body = json.dumps({"errors": [{"code": code, "message": code.lower()}]}).encode()
            self.reply(status, body, headers)

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            with suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
                self.answer()

        def answer(self) -> None:
            given = self.headers.get("Authorization")
            url = urlsplit(self.path)
            fake.seen.append((self.command, self.path, given))
            time.sleep(fake.sleep)
            if url.path == "/token":
                self.token(given, parse_qs(url.query))
                return
            if fake.faults:
                status, headers = fake.faults.pop(0)
                self.error(status, "FAULT", headers)
                return
            if not self.allowed(given):
                return
            parts = url.path.removeprefix("/v2/").split("/")
            kind, what = parts[-2], parts[-1]
            repository = "/".join(parts[:-2])
            held = fake.manifests.get(repository)
            if kind == "blobs":
                if fake.redirect:
                    self.reply(307, b"", {"Location": f"{fake.redirect}{self.path}"})
                elif what in fake.blobs:
                    self.reply(200, fake.blobs[what])
                else:
                    self.error(404, "BLOB_UNKNOWN")
            elif held is None:
                self.error(404, "NAME_UNKNOWN")
            elif kind == "tags":
                self.tags(held, parse_qs(url.query), url.path)
            elif what not in held:
                self.error(404, "MANIFEST_UNKNOWN")
            else:
                body, media = held[what]
                headers = {"Content-Type": media, "Docker-Content-Digest": fake.lie or sha(body)}
                if fake.no_digest:
                    del headers["Docker-Content-Digest"]
                self.reply(200, body, headers)

        def allowed(self, given: str | None) -> bool:
            if fake.login is None:
                return True
            if fake.bearer:
                if given == f"Bearer token{fake.tokens}":
                    return True
                ask = f'Bearer realm="https://{fake.address}/token",service="a, b"'
                ask += ',scope="repository:x:pull,push"'
            else:
                if given == _basic(fake.login):
                    return True
                ask = 'Basic realm="registry"'
            self.error(401, "UNAUTHORIZED", {"WWW-Authenticate": ask})
            return False

        def token(self, given: str | None, query: dict[str, list[str]]) -> None:
            assert query["service"] == ["a, b"]
            assert query["scope"] == ["repository:x:pull,push"]
            if fake.login is not None and given != _basic(fake.login):
                self.error(401, "UNAUTHORIZED")
                return
            fake.tokens += 1
            self.reply(200, json.dumps({"token": f"token{fake.tokens}"}).encode())

        def tags(self, held: dict[str, Any], query: dict[str, list[str]], path: str) -> None:
            names = sorted(name for name in held if not name.startswith("sha256:"))
            last = query.get("last", [""])[0]
            rest = [name for name in names if name > last]
            page, headers = rest[: fake.page], {}
            if len(rest) > len(page):
                headers["Link"] = f'<{path}?last={page[-1]}&n={fake.page}>; rel="next"'
            self.reply(200, json.dumps({"name": "x", "tags": page or None}).encode(), headers)

    return Handler


def _basic(login: tuple[str, str]) -> str:
    return "Basic " + base64.b64encode(":".join(login).encode()).decode()
