"""What the server host is asked about workers, against a small server that speaks their API."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from stackpin.host import fleet, redis_lease, register, schema
from stackpin.host.errors import HostError
from stackpin.host.pg_login import login
from stackpin.host.piping import stream, talk
from stackpin.host.stack import Stack


class Server(ThreadingHTTPServer):
    """The worker API: rows is its table."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.rows: list[dict[str, Any]] = []
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def answer(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def row(self) -> dict[str, Any] | None:
        number = urlsplit(self.path).path.strip("/").rpartition("/")[2]
        return next((row for row in self.server.rows if str(row["id"]) == number), None)

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        parts = urlsplit(self.path)
        if parts.path == "/api/workers/":
            query = parse_qs(parts.query)
            page, size = int(query["page"][0]), min(int(query["pageSize"][0]), 50)
            pages = max(1, -(-len(self.server.rows) // size))
            rows = self.server.rows[(page - 1) * size : page * size]
            self.answer(200, {"results": rows, "page": page, "totalPages": pages})
        else:
            row = self.row()
            self.answer(404 if row is None else 200, row or {"detail": "Not found."})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        new = {"id": len(self.server.rows) + 1, "isLocal": False, "status": "pending", **body}
        self.server.rows.append(new)
        self.answer(201, new)

    def do_DELETE(self) -> None:
        row = self.row()
        if row is not None:
            self.server.rows.remove(row)
        self.answer(404 if row is None else 200, {})

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    monkeypatch.setenv("STACKPIN_ROOT", str(tmp_path))
    return Stack.load("xingrin-worker")


def row(number: int, name: str, address: str, *, local: bool = False) -> dict[str, Any]:
    return {"id": number, "name": name, "ipAddress": address, "isLocal": local, "status": "online"}


def asked(server: Server, **more: object) -> dict[str, Any]:
    return {"server_url": server.url, "name": "n1", "address": "10.0.0.1", "verify": False, **more}


def test_a_node_is_registered_once_and_keeps_its_id(node: Stack, server: Server) -> None:
    server.rows = [row(1, "local", "172.18.0.4", local=True)]

    first = register.register(node, asked(server))
    again = register.register(node, asked(server))

    assert first == {"id": 2, "created": True, "changed": True}
    assert again == {"id": 2, "created": False, "changed": False}
    path = register.node_env(node)
    assert path.read_text() == 'WORKER_ID="2"\n'
    assert path.stat().st_mode & 0o777 == 0o600
    assert server.rows[1]["password"] == ""
    assert register.worker(node, {**asked(server), "ask": True})["known"] is True


def test_a_node_is_found_by_name_then_by_address_on_any_page(node: Stack, server: Server) -> None:
    server.rows = [row(i, f"x{i}", f"10.1.0.{i}") for i in range(1, 120)]
    server.rows.append(row(500, "old-name", "10.0.0.1"))

    assert register.register(node, asked(server))["id"] == 500
    assert len(server.asked) == 3


def test_an_id_the_server_forgot_is_replaced(node: Stack, server: Server) -> None:
    register.register(node, asked(server))
    server.rows = [row(7, "n1", "10.0.0.1")]

    assert register.register(node, asked(server)) == {"id": 7, "created": False, "changed": True}


def test_names_that_are_not_ours_to_take_are_refused(node: Stack, server: Server) -> None:
    server.rows = [row(1, "n1", "172.18.0.4", local=True)]
    with pytest.raises(HostError, match="own local worker") as caught:
        register.register(node, asked(server))
    assert caught.value.kind == "refused"

    server.rows = [row(1, "n1", "10.0.0.9"), row(2, "n2", "10.0.0.1")]
    with pytest.raises(HostError, match=r"id 1 at 10\.0\.0\.9"):
        register.register(node, asked(server))


def test_unregistering_twice_is_no_error_and_the_local_worker_stays(
    node: Stack, server: Server
) -> None:
    register.register(node, asked(server))
    assert register.unregister(node, asked(server)) == {"removed": True}
    assert register.unregister(node, asked(server)) == {"removed": False}
    assert not register.node_env(node).exists()

    server.rows = [row(1, "local", "172.18.0.4", local=True)]
    with pytest.raises(HostError, match="not removed"):
        register.unregister(node, asked(server, id=1))


def test_a_server_that_is_away_is_told(node: Stack, server: Server) -> None:
    payload = asked(server) | {"server_url": "http://127.0.0.1:9"}
    with pytest.raises(HostError, match=r"127\.0\.0\.1:9.*is the server up"):
        register.register(node, payload)
    assert register.worker(node, {**payload, "ask": True}) == {
        "id": None,
        "known": None,
        "message": None,
    }


def test_200_workers_are_told_at_once(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    server.rows = [row(i, f"n{i}", f"10.0.{i}.1") for i in range(1, 201)]
    beats = [[f"worker:load:{i}", "1.5", "20.0", "x", 12000] for i in range(1, 200)]
    stack = Stack.from_json("xingrin-server", {"kind": "compose"})
    place = ("127.0.0.1", server.server_address[1])
    monkeypatch.setattr("stackpin.host.drivers.compose.address", lambda *_: place)
    monkeypatch.setattr(fleet, "redis", lambda *_: [json.dumps(beats)])
    monkeypatch.setattr(fleet, "_row_states", lambda _: {1: "outdated"})
    monkeypatch.setattr(fleet, "_version", lambda _: "v1.1.0")

    started = time.monotonic()
    answer = fleet.fleet(stack, {})

    assert time.monotonic() - started < 1.0
    assert len(answer["workers"]) == 200
    first, last = answer["workers"][0], answer["workers"][-1]
    assert (first["row_status"], first["api_status"]) == ("outdated", "online")
    assert first["beat"]["age"] == pytest.approx(3.0, abs=0.1)
    assert last["beat"] is None
    assert [w["id"] for w in fleet.fleet(stack, {"ids": [5]})["workers"]] == [5]


@pytest.mark.parametrize(
    ("updated", "age"),
    [
        ("990.5", 9.5),
        ("1970-01-01T00:16:31+00:00", 9.0),
        ("2026-11-22T02:10:11.123456", 10.0),  # of another zone: the time to live decides
        ("", 10.0),
    ],
)
def test_the_age_of_a_heartbeat_does_not_depend_on_a_time_zone(updated: str, age: float) -> None:
    [found] = fleet.merge([row(3, "n", "a")], {3: ("1", "2", updated, 5000)}, {}, 1000.0)

    assert found["beat"]["age"] == pytest.approx(age)


def test_a_lease_in_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    stack, asked_for = Stack.from_json("xingrin-server", {}), []
    answers = {
        "take": ["OK", "1", "me", "60000"],
        "renew": ["0", "other", "1000"],
        "release": ["1", "", "-2"],
        "show": ["", "-2"],
    }
    for action, lines in answers.items():

        def told(_: Stack, commands: list[str], lines: list[str] = lines) -> list[str]:
            asked_for.append(commands)
            return lines

        monkeypatch.setattr(redis_lease, "redis", told)
        payload = {"action": action, "key": "agent_update_lock:7", "token": "me", "ttl": 60}
        answer = redis_lease.redis_lease(stack, payload)
        assert answer["held"] is (action in {"take", "release"})
    assert asked_for[0][0] == "SET agent_update_lock:7 me NX EX 60"
    with pytest.raises(HostError, match="token"):
        redis_lease.redis_lease(stack, {"action": "take", "key": "k", "token": "a b\nFLUSHALL"})


def test_drift_names_tables_and_columns() -> None:
    wanted = {"scan": {"id": "int", "created_at": "timestamp"}, "ehole_fingerprint": {"id": "int"}}
    live = {"scan": {"id": "int", "own": "text"}, "other": {"id": "int"}}

    drift = schema.missing(wanted, live)

    assert schema.told(drift) == "table ehole_fingerprint, column scan.created_at"
    assert schema.missing(wanted, wanted) == []


def test_programs_are_spoken_with_and_streamed(tmp_path: Path) -> None:
    with talk(["cat"]) as session:
        session.say("one\ntwo\n.\n")
        assert session.until(".") == ["one", "two"]
    with (
        pytest.raises(HostError, match="sorry"),
        talk(["sh", "-c", "echo sorry >&2"]) as session,
    ):
        session.line()
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"\0x")
    assert stream(["cat"], source=source, target=target, timeout=5).ok
    assert target.read_bytes() == b"\0x"
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_login_where_no_postgresql_is(server: Server) -> None:
    number = int(server.server_address[1])
    assert "no PostgreSQL answers" in str(login("127.0.0.1", number, "d", "u", "p", timeout=0.3))
    assert "no PostgreSQL answers" in str(login("127.0.0.1", 9, "d", "u", "p"))


def test_a_conversation_that_ends_early_names_the_error() -> None:
    words = "echo 'ERROR:  canceling statement due to lock timeout' >&2; echo '    ^' >&2; exit 3"
    with talk(["sh", "-c", words]) as session, pytest.raises(HostError, match="lock timeout"):
        session.line()
