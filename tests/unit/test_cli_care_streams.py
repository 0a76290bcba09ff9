"""The two streams from a host: its log, masked there, and the tunnel to its service."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest

from stackpin.care import follow
from stackpin.care.tunnel import Tunnel
from stackpin.errors import Refused

PROJECT = Path(__file__).resolve().parents[2]
TOKEN = 'live$token"with`all&of|it'


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A host's files below a test root, and a journalctl that prints its arguments and a secret."""
    (tmp_path / "etc/stackpin/crm").mkdir(parents=True)
    (tmp_path / "etc/stackpin/crm/stack.json").write_text("{}")
    (tmp_path / "var/lib/stackpin/crm").mkdir(parents=True)
    release = tmp_path / "opt/crm/releases/v1.0.0-aa"
    release.mkdir(parents=True)
    quoted = TOKEN.replace('"', '\\"').replace("`", "\\`").replace("$", "\\$")
    (release / "env").write_text(f'SUB2API_CRM_ADMIN_TOKEN="{quoted}"\n')
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin/journalctl"
    fake.write_text(
        f"#!{sys.executable}\n"
        "import sys, time\n"
        f"print(' '.join(sys.argv[1:]), 'token', {TOKEN!r}, flush=True)\n"
        "if '--follow' in sys.argv: time.sleep(60)\n"
    )
    fake.chmod(0o755)
    return tmp_path


def start(host: Path, **options: Any) -> subprocess.Popen[bytes]:
    chosen = {"follow": False, "lines": 5, "since": None, "slot": None, **options}
    return subprocess.Popen(
        [sys.executable, follow.__file__, str(PROJECT), "crm", json.dumps(chosen)],
        env={"STACKPIN_ROOT": str(host), "PATH": f"{host}/bin:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_log_lines_are_masked_before_they_leave_the_host(host: Path) -> None:
    out, err = start(host).communicate(timeout=20)
    assert err == b""
    assert b"token ***" in out
    assert TOKEN.encode() not in out
    assert b"--unit=crm@blue.service --lines=5" in out


def test_the_slot_file_decides_which_slot_is_shown(host: Path) -> None:
    (host / "var/lib/stackpin/crm/live.green").touch()
    assert b"crm@green.service" in start(host).communicate(timeout=20)[0]
    assert b"crm@blue.service" in start(host, slot="blue").communicate(timeout=20)[0]


def test_since_without_lines_shows_all_since(host: Path) -> None:
    out, _ = start(host, since="1 hour ago", lines=None).communicate(timeout=20)
    assert b"--since=1 hour ago" in out
    assert b"--lines" not in out


def test_following_moves_to_the_slot_that_goes_live(host: Path) -> None:
    process = start(host, follow=True)
    assert process.stdout is not None
    assert b"crm@blue.service" in process.stdout.readline()
    (host / "var/lib/stackpin/crm/live.green").touch()
    assert process.stdout.readline() == b"-- green is live now --\n"
    assert b"crm@green.service" in process.stdout.readline()
    process.stdout.close()
    process.wait(timeout=10)


def test_following_ends_with_its_reader_and_leaves_no_journalctl(host: Path) -> None:
    process = start(host, follow=True)
    assert process.stdout is not None
    process.stdout.readline()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert children
    process.stdout.close()
    assert process.wait(timeout=10) == 0
    time.sleep(0.1)
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(int(child), signal.SIG_DFL)


def test_a_host_without_the_stack_says_so(host: Path) -> None:
    (host / "etc/stackpin/crm/stack.json").unlink()
    process = start(host)
    assert b"not installed" in process.communicate(timeout=20)[1]
    assert process.returncode == 3


class FakeTransport:
    """Opens channels to local ports; refuses those in `closed` as sshd does."""

    def __init__(self) -> None:
        self.closed: set[int] = set()
        self.asked: list[int] = []

    def is_active(self) -> bool:
        return True

    def open_channel(self, kind: str, target: tuple[str, int], *_: Any, **__: Any) -> socket.socket:
        assert kind == "direct-tcpip"
        self.asked.append(target[1])
        if target[1] in self.closed:
            raise paramiko.ChannelException(2, "Connection refused")
        return socket.create_connection(target)


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that answers everything it got, once the other side ended its direction."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                got = b""
                while block := client.recv(65536):
                    got += block
                client.sendall(got.upper())

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1]
    server.close()


def opened(transport: FakeTransport, ports: list[int], problems: list[str]) -> int:
    tunnel = Tunnel(lambda: transport, lambda: ports.pop(0), problems.append)  # type: ignore[arg-type,return-value]
    local = tunnel.listen()
    threading.Thread(target=tunnel.serve, daemon=True).start()
    return local


def talk(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        got = b""
        while block := client.recv(65536):
            got += block
        return got


def test_a_tunnel_carries_bytes_both_ways_with_half_closed_ends(echo: int) -> None:
    local = opened(FakeTransport(), [echo], [])
    data = os.urandom(300_000).replace(b"\0", b"a")
    assert talk(local, data) == data.upper()


def test_a_tunnel_asks_again_where_the_live_slot_is_after_a_refusal(echo: int) -> None:
    transport = FakeTransport()
    transport.closed.add(1)
    local = opened(transport, [1, echo], [])
    assert talk(local, b"hello") == b"HELLO"
    assert transport.asked == [1, echo]


def test_a_tunnel_says_when_nothing_answers() -> None:
    transport, problems = FakeTransport(), []
    transport.closed.add(1)
    local = opened(transport, [1, 1], problems)
    assert talk(local, b"") == b""
    assert "nothing answers on the host's 127.0.0.1:1" in problems[0]


def test_a_taken_local_port_is_refused_with_the_remedy(echo: int) -> None:
    tunnel = Tunnel(lambda: None, lambda: 1, print)  # type: ignore[arg-type,return-value]
    with pytest.raises(Refused, match="--local-port"):
        tunnel.listen(echo)
