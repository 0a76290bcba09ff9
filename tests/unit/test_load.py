"""The load client must notice everything; so it is pointed at servers that misbehave."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stackpin.lab.apps.crm.build import build
from stackpin.lab.apps.crm.preview import Preview
from stackpin.lab.load import Load, Plan, RefusedTargetError, Result, check_target, percentiles, run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("load token\n")
    return path


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    path = tmp_path / "crm.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    names = "-subj /CN=crm.lab -addext subjectAltName=DNS:crm.lab -keyout crm.pem -out c.pem"
    subprocess.run(
        [*command.split(), *names.split()], cwd=tmp_path, check=True, capture_output=True
    )
    path.write_text(path.read_text() + (tmp_path / "c.pem").read_text())
    return path


@contextmanager
def crm(tmp_path: Path, certificate: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    process = subprocess.Popen(
        [sys.executable, str(build(tmp_path, ["v1.0.0"])["v1.0.0"])],
        env={
            "PATH": os.environ["PATH"],
            "SUB2API_CRM_ADMIN_TOKEN": "load token",
            "SUB2API_CRM_LISTEN_ADDR": "127.0.0.1:0",
            "SUB2API_CRM_SQLITE_DSN": f"file:{tmp_path}/crm.db",
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    address = process.stdout.readline().partition(" listens on ")[2].partition(",")[0]
    try:
        with front(address, certificate) as url:
            yield url, process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def front(crm: str, certificate: Path) -> Iterator[str]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    server = Preview(crm, ROOT / "portal", tls=context)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server.url
    finally:
        server.shutdown()
        server.server_close()


def test_a_healthy_host_under_load(tmp_path: Path, token: Path, certificate: Path) -> None:
    with crm(tmp_path, certificate) as (url, process):
        plan = Plan(
            url, token, "crm.lab", certificate, seconds=30, keep_alive=6, one_shot=2, rate=80
        )
        load = Load(plan, tmp_path)
        load.start()
        time.sleep(0.8)
        began = time.monotonic()
        result = load.stop()  # early, by SIGTERM
        assert time.monotonic() - began < 5
        assert (result.failed, result.samples, result.lost) == (0, [], [])
        assert result.ok == result.requests
        assert result.longest_gap == 0
        assert 10 < result.requests < 200  # think time bounds it
        assert result.acknowledged and len(set(result.acknowledged)) == len(result.acknowledged)
        assert set(result.versions) == {"v1.0.0"}
        assert 0 < result.latency_ms["p50"] <= result.latency_ms["p99"] <= result.latency_ms["max"]

        with Load(plan, tmp_path) as load:
            time.sleep(0.3)
            process.kill()
            time.sleep(0.5)
        result = load.result()
        assert 0 < result.longest_gap < result.seconds
        assert result.failed_by_kind["status"] > 0  # 502 from the front
        assert result.lost is None  # nobody is there to ask
        assert 0 < len(result.samples) <= 20
        assert result.ok + result.failed == result.requests


def test_an_unknown_certificate_is_a_failure(
    tmp_path: Path, token: Path, certificate: Path
) -> None:
    with front("127.0.0.1:1", certificate) as url:
        plan = Plan(url, token, "other.lab", certificate, seconds=0.3, keep_alive=2, one_shot=0)
        result = asyncio.run(run(plan))
    assert result.ok == 0 and set(result.failed_by_kind) == {"connect"}


Answer = Callable[[socket.socket, int], None]


@contextmanager
def misbehaving(answer: Answer) -> Iterator[str]:
    """A server that reads requests and lets `answer` do what it wants with the n-th of each."""

    def serve(sock: socket.socket) -> None:
        with contextlib.suppress(OSError), closing(sock):
            for number in range(1000):
                data = b""
                while b"\r\n\r\n" not in data:
                    more = sock.recv(65536)
                    if not more:
                        return
                    data += more
                answer(sock, number)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                threading.Thread(target=serve, args=(sock,), daemon=True).start()

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def reply(body: bytes, extra: str = "", status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body


def close_silently(sock: socket.socket, _number: int) -> None:
    sock.shutdown(socket.SHUT_RDWR)


def reset(sock: socket.socket, _number: int) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


def cut(sock: socket.socket, _number: int) -> None:
    sock.sendall(reply(b"</html>")[:-3])
    sock.shutdown(socket.SHUT_RDWR)


def wrong_body(sock: socket.socket, _number: int) -> None:
    sock.sendall(reply(b"<p>Welcome to nginx</p>"))


def wrong_status(sock: socket.socket, _number: int) -> None:
    sock.sendall(reply(b"ok", status="503 Service Unavailable"))


def no_length(sock: socket.socket, _number: int) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\n\r\nok")
    sock.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("answer", "kinds"),
    [
        (close_silently, {"eof"}),
        (reset, {"reset", "eof"}),
        (cut, {"eof"}),
        (wrong_body, {"body", "status"}),  # a write also has the wrong status
        (wrong_status, {"status"}),
        (no_length, {"protocol"}),
    ],
)
def test_each_misbehaviour_is_counted(token: Path, answer: Answer, kinds: set[str]) -> None:
    with misbehaving(answer) as url:
        plan = Plan(url, token, seconds=0.3, keep_alive=3, one_shot=1, rate=40)
        result = asyncio.run(run(plan))
    assert (result.ok, result.acknowledged) == (0, [])
    assert result.failed == result.requests > 3
    assert set(result.failed_by_kind) <= kinds


def one_good_answer_each(polite: bool) -> Answer:
    def answer(sock: socket.socket, number: int) -> None:
        if number == 0:
            body = b'{"hosts":[],"x":"</html>"}'
            sock.sendall(reply(body, "Connection: close\r\n" if polite else ""))
        if number or polite:
            sock.shutdown(socket.SHUT_RDWR)

    return answer


def test_only_a_polite_goodbye_is_forgiven(token: Path) -> None:
    failures = {}
    for polite in (True, False):
        with misbehaving(one_good_answer_each(polite)) as url:
            plan = Plan(url, token, seconds=0.4, keep_alive=2, one_shot=0, rate=40)
            failures[polite] = asyncio.run(run(plan)).failed_by_kind.get("eof", 0)
    assert failures[True] == 0
    assert failures[False] > 2


@pytest.mark.parametrize(
    "url",
    [
        "https://8.8.8.8",
        "https://example.com",
        "https://169.254.169.254",
        "https://0.0.0.0",
        "https://[2001:db8::1]",
        "ftp://127.0.0.1",
        "https://127.0.0.1/path",
        "https://127.0.0.1@8.8.8.8",
        "",
    ],
)
def test_targets_outside_a_lab_are_refused(url: str, token: Path, tmp_path: Path) -> None:
    with pytest.raises(RefusedTargetError):
        Plan(url, token, ca=tmp_path)


def test_lab_targets() -> None:
    assert check_target("https://10.77.0.11") == ("10.77.0.11", 443, True)
    assert check_target("http://[::1]:8080/") == ("::1", 8080, False)
    assert check_target("http://localhost") == ("127.0.0.1", 80, False)


def test_bounds(token: Path) -> None:
    for wrong in (
        {"seconds": 0.0},
        {"seconds": 1e9},
        {"rate": 0.0},
        {"keep_alive": 0, "one_shot": 0},
        {"keep_alive": 1000},
        {"max_requests": 10**9},
        {"url": "https://127.0.0.1"},
    ):
        with pytest.raises(ValueError):
            Plan(**{"url": "http://127.0.0.1", "token_file": token, **wrong})  # type: ignore[arg-type]


def test_the_command_line(tmp_path: Path, token: Path) -> None:
    base = [sys.executable, "-m", "stackpin.lab.load", "--token-file", str(token)]
    refused = subprocess.run(
        [*base, "--url", "https://8.8.8.8", "--ca", "x", "--json", str(tmp_path / "r")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 3 and "refused" in refused.stderr
    pid_file = tmp_path / "pid"
    with misbehaving(wrong_status) as url:
        out = ["--json", str(tmp_path / "r.json"), "--pid-file", str(pid_file)]
        load = subprocess.Popen(
            [*base, "--url", url, "--seconds", "60", *out], cwd=ROOT, stdout=subprocess.PIPE
        )
        assert load.stdout and load.stdout.readline()
        time.sleep(0.3)
        os.kill(int(pid_file.read_text()), signal.SIGTERM)
        assert load.wait(20) == 1
        load.stdout.close()
    assert not pid_file.exists()
    result = Result.read(tmp_path / "r.json")
    assert result.seconds < 10 and result.failed == result.requests
    assert set(result.samples[0]) == {"at", "request", "kind", "detail"}
    assert "load token" not in json.dumps(result.samples)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 100), min_size=1, max_size=300))
def test_percentiles_are_values_that_occurred_in_order(seconds: list[float]) -> None:
    found = percentiles(seconds)
    assert list(found.values()) == sorted(found.values())
    assert set(found.values()) <= {round(value * 1000, 2) for value in seconds}
    assert percentiles([]) == {}
