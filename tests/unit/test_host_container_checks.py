"""Checks and service of containers, and http checks with certificates of their own."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import TypeAdapter, ValidationError

from stackpin.config.checks import Check
from stackpin.host.checks import run_checks
from stackpin.host.checks_http import fetch
from stackpin.host.stack import Stack
from stackpin.host.system import Result
from tests.unit.fake_docker import NAME, DockerHost

CHECK: TypeAdapter[Check] = TypeAdapter(Check)


@pytest.fixture
def ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DockerHost:
    host = DockerHost(tmp_path, monkeypatch)
    host.install()
    host.call("rollout", release=host.receive("old"), who="me")
    return host


def ask(host: DockerHost, **check: Any) -> tuple[bool, str]:
    document = CHECK.validate_python({"name": "c", **check}).as_json()
    stack = host.install()
    (result,) = run_checks(
        stack, [document], port=None, env={"WORKER_ID": "7"}, where={"slot", "host"},
        version=None, slot="blue",
    )  # fmt: skip
    return result["ok"], result["got"]


def test_container_check(ready: DockerHost) -> None:
    assert ask(ready, kind="container")[0]
    assert ask(ready, kind="container", container=NAME, max_restarts=0)[0]
    assert ask(ready, kind="container", container="other") == (False, "no such container")
    assert not ask(ready, kind="container", healthy=True)[0]
    item = next(iter(ready.docker.containers.values()))
    item.update(restarts=2)
    assert not ask(ready, kind="container", max_restarts=1)[0]
    item.update(state="exited", exit=3)
    ok, got = ask(ready, kind="container")
    assert not ok and "exit 3" in got


def test_checks_of_another_stacks_live_slot(
    ready: DockerHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def systemctl(argv: list[str], **_: Any) -> Result:
        asked.append(argv[2])
        return Result(0, "ActiveState=active\nSubState=running\nResult=success\n", "")

    monkeypatch.setattr("stackpin.host.checks_running.system.run", systemctl)
    other = Stack.from_json("web", {"kind": "slots"})
    other.settings_file.parent.mkdir(parents=True)
    other.settings_file.write_text("{}")
    ok, got = ask(ready, kind="systemd", of="web", where="host")
    assert not ok and "no release of it is live" in got
    other.slots_dir.mkdir(parents=True)
    other.slot_link("green").symlink_to("../releases/v1")
    other.state_dir.mkdir(parents=True)
    other.slot_file.touch()
    assert ask(ready, kind="systemd", of="web", where="host")[0]
    assert ask(ready, kind="systemd", of="web", unit="{stack}-{slot}.timer", where="host")[0]
    assert asked == ["web@green.service", "web-green.timer"]

    mine = ready.install().name
    assert ask(ready, kind="container", of=mine)[0]
    assert ask(ready, kind="container", of="web") == (False, "no such container")
    ready.docker.logs = lambda _: Result(0, "2026-01-01T00:00:01Z panic: s3cret\n", "")  # type: ignore[method-assign]
    ok, got = ask(ready, kind="log", of=mine)
    assert not ok and got == "1 lines, the last: panic: ***"


def test_stop_keeps_it_down_and_start_brings_it_back(ready: DockerHost) -> None:
    ready.call("service", action="stop")
    assert ready.docker.now() == {NAME: ("exited", "no", "old")}
    codes = [finding["code"] for finding in ready.call("inspect")["findings"]]
    assert "container-not-running" in codes
    ready.call("service", action="start")
    assert ready.only("old")
    before = set(ready.docker.containers)
    assert ready.call("service", action="restart")["changed"]
    assert ready.only("old") and set(ready.docker.containers) != before


def test_findings_of_what_runs(ready: DockerHost) -> None:
    item = next(iter(ready.docker.containers.values()))
    item.update(restarts=5)
    ready.docker.images["other"] = {"reg/agent:old"}
    ready.docker.images["id-old"].discard("reg/agent:old")
    item["image"] = item["image"][:-4] + "0000"
    codes = {finding["code"] for finding in ready.call("inspect")["findings"]}
    assert {"restarts", "tag-moved-locally", "running-not-installed"} <= codes


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "https://x/{env:ID}", "where": "public"},
        {"url": "https://x/", "where": "public", "verify": False},
        {"url": "https://x/", "where": "public", "ca": "/ca.pem"},
    ],
)
def test_public_checks_know_nothing_of_the_host(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CHECK.validate_python({"kind": "http", "name": "p", **wrong})


class Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/api/workers/7/" else 404)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def https(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A server with a certificate it signed itself: (port, path of the certificate)."""
    import datetime

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "box")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, secret = tmp_path / "cert.pem", tmp_path / "key.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    server = HTTPServer(("127.0.0.1", 0), Server)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, secret)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server.server_address[1], pem
    server.shutdown()


def test_url_takes_a_variable_and_a_given_ca_is_used(
    https: tuple[int, Path], tmp_path: Path
) -> None:
    port, pem = https
    base = {"kind": "http", "name": "me", "where": "host"}
    url = f"https://localhost:{port}/api/workers/{{env:WORKER_ID}}/"
    check = CHECK.validate_python({**base, "url": url, "ca": str(pem)}).as_json()
    stack = Stack.from_json("w", {"kind": "container"})

    def result(document: dict[str, Any]) -> dict[str, Any]:
        return run_checks(
            stack, [document], port=None, env={"WORKER_ID": "7"}, where={"host"}, version=None
        )[0]

    assert result(check)["ok"], result(check)
    other = tmp_path / "other.pem"
    other.write_text(ssl.get_server_certificate(("127.0.0.1", port)))
    assert fetch("GET", f"https://localhost:{port}/", {}, 5, ca=str(other)).status == 404
    wrong = {**check, "url": f"https://127.0.0.1:{port}/"}
    assert not result(wrong)["ok"] and "CERTIFICATE" in result(wrong)["got"].upper()
