"""The reference server around its API: sockets, Redis' protocol, the schema and its trap."""

import http.client
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from stackpin.lab.apps.xingrin.server.answers import Answer, Request
from stackpin.lab.apps.xingrin.server.auth import check_password, hash_password
from stackpin.lab.apps.xingrin.server.httpd import Server
from stackpin.lab.apps.xingrin.server.loads import RedisLoads
from stackpin.lab.apps.xingrin.server.manage import main as manage
from stackpin.lab.apps.xingrin.server.migrations import migrate, schema_step
from stackpin.lab.apps.xingrin.server.models import tables
from stackpin.lab.apps.xingrin.server.resp import Redis, RedisError, encode


class SlowApi:
    """Answers after `seconds`, and says when it has begun."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.began = threading.Event()
        self.seen: list[Request] = []

    def answer(self, request: Request) -> Answer:
        self.seen.append(request)
        self.began.set()
        time.sleep(self.seconds)
        return Answer(200, {"some_name": 1}, (("Set-Cookie", "a=b"),))


@contextmanager
def serving(api: SlowApi) -> Iterator[tuple[Server, threading.Thread]]:
    server = Server(("127.0.0.1", 0), api)  # type: ignore[arg-type]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server, thread
    finally:
        server.shutdown()
        server.server_close()


def test_a_connection_carries_several_requests() -> None:
    api = SlowApi()
    with serving(api) as (server, _thread):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)
        for method, body in (("POST", b"x"), ("GET", None), ("HEAD", None)):
            connection.request(method, "/api/?page=2", body)
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status == 200
            assert content == (b"" if method == "HEAD" else b'{"someName":1}')
            assert answer.headers["Set-Cookie"] == "a=b"
        connection.close()
    first = api.seen[0]
    assert (first.method, first.path, first.body) == ("POST", "/api/", b"x")
    assert api.seen[1].parameter("page") == "2"


def test_stopping_finishes_the_request_under_way() -> None:
    api = SlowApi(0.4)
    with serving(api) as (server, thread):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)
        connection.request("GET", "/")
        assert api.began.wait(5)
        server.stop()
        thread.join(5)
        server.server_close()
        assert server.busy == 1
        assert server.drained(5)
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Connection"]) == (200, "close")
        assert answer.read() == b'{"someName":1}'
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", server.server_port), 1)


class FakeRedis:
    """Sends prepared bytes for each connection and keeps what it was sent."""

    def __init__(self, *answers: bytes) -> None:
        self.answers, self.got = list(answers), b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        for answer in self.answers:
            connection, _ = self.listener.accept()
            with connection:
                self.got += connection.recv(65536)
                # In two pieces, as the network may deliver it.
                for piece in (answer[:7], answer[7:]):
                    connection.sendall(piece)
                    time.sleep(0.02)
        self.listener.close()


def test_redis_replies_of_every_kind() -> None:
    fake = FakeRedis(b"+OK\r\n:42\r\n$5\r\nhe\r\no\r\n$-1\r\n*2\r\n$1\r\na\r\n:1\r\n")
    redis = Redis("127.0.0.1", fake.port)
    assert redis.run(*[("PING",)] * 5) == ["OK", 42, "he\r\no", None, ["a", 1]]
    assert fake.got.startswith(encode(("PING",)))


def test_a_restarted_redis_is_asked_again() -> None:
    fake = FakeRedis(b"", b"+OK\r\n")
    assert Redis("127.0.0.1", fake.port).run(("PING",)) == ["OK"]


def test_redis_errors_have_their_words() -> None:
    fake = FakeRedis(b"-ERR no such thing\r\n")
    with pytest.raises(RedisError, match="no such thing"):
        Redis("127.0.0.1", fake.port).run(("X",))


class Recorded:
    def __init__(self, *replies: Any) -> None:
        self.replies, self.commands = list(replies), list[tuple[object, ...]]()

    def run(self, *commands: tuple[object, ...]) -> list[Any]:
        self.commands += commands
        return self.replies


def test_a_beat_lives_fifteen_seconds() -> None:
    redis = Recorded()
    RedisLoads(redis).beat(7, 1.5, 2)  # type: ignore[arg-type]
    assert [command[0] for command in redis.commands] == ["MULTI", "HSET", "EXPIRE", "EXEC"]
    assert redis.commands[1][:6] == ("HSET", "worker:load:7", "cpu", 1.5, "mem", 2)
    assert redis.commands[2] == ("EXPIRE", "worker:load:7", 15)


def test_loads_are_read_in_one_go_and_the_lock_has_no_token() -> None:
    redis = Recorded(["cpu", "1.5", "mem", "x", "updated", "now"], [])
    assert RedisLoads(redis).of([1, 2]) == {1: {"cpu": 1.5, "mem": 0.0}}  # type: ignore[arg-type]
    lock = Recorded("OK")
    assert RedisLoads(lock).lock_update(3)  # type: ignore[arg-type]
    assert lock.commands == [("SET", "agent_update_lock:3", "1", "NX", "EX", 60)]


class SchemaOnly:
    """A database that knows tables and columns, and understands our own statements."""

    def __init__(self) -> None:
        self.columns: dict[str, set[str]] = {}
        self.recorded = False

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        yield self.run

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.run(sql, values)

    def run(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        words = sql.split()
        if sql.startswith("SELECT 1 FROM django_migrations"):
            return [(1,)] if self.recorded else []
        if sql.startswith("INSERT INTO django_migrations"):
            self.recorded = True
        elif words[:2] == ["CREATE", "TABLE"] and words[2] != "IF":
            self.columns[words[2]] = {part.split()[0] for part in sql.partition("(")[2].split(", ")}
        elif words[0] == "ALTER":
            self.columns[words[2]].add(words[5])
        elif "information_schema" in sql:
            return [(name, one) for name, columns in self.columns.items() for one in columns]
        return []


def test_the_schema_trap_and_the_step_out_of_it() -> None:
    database, said = SchemaOnly(), list[str]()
    assert migrate(database, "v1.1.0", said.append)
    assert "ehole_fingerprint" not in database.columns
    assert not migrate(database, "v1.6.0", said.append)
    assert said[-1] == "  No migrations to apply."
    assert "created_at" not in database.columns["website"]
    assert schema_step(database, "v1.6.0", said.append) == 13
    assert schema_step(database, "v1.6.0", said.append) == 0
    assert database.columns == {one.name: set(one.columns) for one in tables("v1.6.0")}


def test_a_step_of_a_release_without_changes_does_nothing() -> None:
    database = SchemaOnly()
    migrate(database, "v1.1.0", lambda _line: None)
    assert schema_step(database, "v1.2.0-dev", lambda _line: None) == 0


def test_passwords() -> None:
    stored = hash_password("pässword")
    assert check_password("pässword", stored)
    assert not check_password("password", stored)


def test_management_commands_that_need_no_database(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SECRET_KEY", raising=False)
    assert manage(["makemigrations"]) == 0
    assert "0001_initial" in capsys.readouterr().out
    assert manage(["check"]) == 0
    assert manage(["check", "--deploy"]) == 1
    assert manage(["init_wordlists"]) == 0
    assert manage(["nonsense"]) == 2
    assert "schema-step" in capsys.readouterr().out
