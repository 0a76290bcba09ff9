"""The gate of the reference InfraCore, in front of a console that the test plays."""

import http.client
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from infracore_app_kit import CACHE, Site

from stackpin.lab.apps.infracore.build import build

Answer = Callable[[socket.socket, bytes], None]


class Upstream:
    """Takes one connection after the other and lets a function answer each."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.answer: Answer = lambda sock, _head: sock.sendall(b"")
        self.heads: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with sock:
                head = sock.recv(65536)
                while b"Content-Length: 4" in head and not head.endswith(b"body"):
                    head += sock.recv(65536)
                self.heads.append(head)
                self.answer(sock, head)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("gate"), ["v1.0.0"], CACHE)["v1.0.0"] / "bin/gate"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    one = Upstream()
    yield one
    one.close()


@pytest.fixture(scope="module")
def site(
    program: Path, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    one = Site(tmp_path_factory.mktemp("site"), console=upstream.port)
    one.start(program)
    yield one
    one.end()


def plain(sock: socket.socket, _head: bytes) -> None:
    sock.sendall(
        b"HTTP/1.1 201 Made\r\nContent-Length: 2\r\nConnection: close\r\n"
        b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-App-Version: v9\r\n\r\nhi"
    )


def test_what_passes_and_what_does_not(site: Site, upstream: Upstream) -> None:
    upstream.answer = plain
    with closing(http.client.HTTPConnection("127.0.0.1", site.ports["gate"], timeout=5)) as one:
        headers = {"Host": "infra.example", "Authorization": "Bearer x", "Connection": "keep-alive"}
        for turn in range(2):
            one.request("POST", "/console/x?y=%20", b"body", headers)
            answer = one.getresponse()
            assert (answer.status, answer.reason, answer.read()) == (201, "Made", b"hi"), turn
            assert answer.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
            assert answer.headers.get_all("X-App-Version") == ["v9"]
            assert answer.headers.get_all("Connection") == ["keep-alive"]
    head = upstream.heads[-1].decode()
    assert head.startswith("POST /console/x?y=%20 HTTP/1.1\r\n")
    assert head.endswith("\r\n\r\nbody")
    assert head.lower().count("connection: close") == head.lower().count("connection:") == 1
    for line in ("host: infra.example", "x-forwarded-proto: http", "authorization: Bearer x"):
        assert line in head


def test_an_answer_passes_while_it_is_still_arriving(site: Site, upstream: Upstream) -> None:
    seen = threading.Event()

    def slowly(sock: socket.socket, _head: bytes) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        assert seen.wait(5)
        sock.sendall(b"3\r\ntwo\r\n0\r\n\r\n")

    upstream.answer = slowly
    with closing(http.client.HTTPConnection("127.0.0.1", site.ports["gate"], timeout=5)) as one:
        one.request("GET", "/")
        answer = one.getresponse()
        assert answer.read1(100) == b"one"
        seen.set()
        assert answer.read() == b"two"
        upstream.answer = plain
        one.request("HEAD", "/")
        assert one.getresponse().headers["Content-Length"] == "2"


def test_an_old_client_sees_the_end(site: Site, upstream: Upstream) -> None:
    upstream.answer = lambda sock, _head: sock.sendall(b"HTTP/1.1 200 OK\r\n\r\nall of it")
    with socket.create_connection(("127.0.0.1", site.ports["gate"]), 5) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        with sock.makefile("rb") as reader:
            text = reader.read()
    assert text.endswith(b"Connection: close\r\n\r\nall of it")


@pytest.mark.parametrize("head", [b"Content-Length: 9", b"Transfer-Encoding: chunked"])
def test_half_an_answer_is_never_shown_as_a_whole(
    site: Site, upstream: Upstream, head: bytes
) -> None:
    upstream.answer = lambda sock, _: sock.sendall(
        b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n5\r\nab"
    )
    with closing(http.client.HTTPConnection("127.0.0.1", site.ports["gate"], timeout=5)) as one:
        one.request("GET", "/")
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            one.getresponse().read()


def test_a_console_that_is_away_or_silent_is_502(
    program: Path, site: Site, upstream: Upstream, tmp_path: Path
) -> None:
    upstream.answer = lambda _sock, _head: None
    assert site.ask("gate", "/api/v1/health") == (502, {"error": "Bad gateway"})
    nobody = Site(tmp_path)
    try:
        nobody.start(program)
        assert nobody.ask("gate", "/", {})[0] == 502
        inside = nobody.ports["gate"] + 1000
        assert nobody.ask(inside, "/health")[0] == 200
        assert 'gate_requests_total{status="502"} 1' in nobody.ask(inside, "/metrics")[1]
        target = f"http://127.0.0.1:{nobody.ports['console']}"
        routes = [{"path": "/console", "target": target}, {"path": "/", "target": target}]
        assert nobody.ask(inside, "/routes")[1]["routes"] == routes
    finally:
        nobody.end()


def wait_until_refused(port: int) -> None:
    until = time.monotonic() + 5
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return
        time.sleep(0.02)
    raise AssertionError(f"port {port} is still open")


def test_a_request_under_way_is_finished(program: Path, upstream: Upstream, tmp_path: Path) -> None:
    asked, go = threading.Event(), threading.Event()

    def late(sock: socket.socket, head: bytes) -> None:
        asked.set()
        assert go.wait(5)
        plain(sock, head)

    upstream.answer = late
    one = Site(tmp_path, console=upstream.port)
    try:
        process = one.start(program)
        port = one.ports["gate"]
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            connection.request("GET", "/")
            assert asked.wait(5)
            process.terminate()
            wait_until_refused(port)  # else it may answer before it hears of the signal
            go.set()
            answer = connection.getresponse()
            assert (answer.read(), answer.headers["Connection"]) == (b"hi", "close")
        assert process.wait(5) == 0
    finally:
        one.end()


def test_only_the_gate_has_an_option(program: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [str(program), *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout

    assert run("-version") == (0, "infra-core gate v1.0.0\n")
    assert run("--port=8080") == (2, "")
    assert run() == (1, "")
