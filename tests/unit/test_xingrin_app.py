"""The reference server's worker API, without sockets, database or Redis."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from stackpin.lab.apps.xingrin.server.answers import Request, camel, snake
from stackpin.lab.apps.xingrin.server.api import Api
from stackpin.lab.apps.xingrin.server.auth import hash_password
from stackpin.lab.apps.xingrin.server.database import Taken
from stackpin.lab.apps.xingrin.server.settings import INSECURE_KEY, Settings
from stackpin.lab.apps.xingrin.server.workers import Workers


class MemoryStore:
    def __init__(self) -> None:
        self.tables: dict[str, dict[int, dict[str, Any]]] = {"worker_node": {}, "auth_user": {}}
        self.missing: set[str] = set()
        self.next = 1

    def workers(self, offset: int, limit: int) -> list[dict[str, Any]]:
        newest = sorted(self.tables["worker_node"].values(), key=lambda row: -row["id"])
        return newest[offset : offset + limit]

    def worker_count(self) -> int:
        return len(self.tables["worker_node"])

    def worker(self, worker: int) -> dict[str, Any] | None:
        found = self.tables["worker_node"].get(worker)
        return dict(found) if found else None

    def worker_named(self, name: str) -> dict[str, Any] | None:
        return next((w for w in self.tables["worker_node"].values() if w["name"] == name), None)

    def add_worker(self, values: Mapping[str, Any]) -> dict[str, Any]:
        for other in self.tables["worker_node"].values():
            if other["name"] == values["name"]:
                raise Taken("unique_worker_name")
            remote = not other["is_local"] and not values["is_local"]
            if remote and other["ip_address"] == values["ip_address"]:
                raise Taken("unique_remote_worker_ip")
        now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        known = {"ssh_port": 22, "username": "root", "password": "", **values}
        return self.row("worker_node", {**known, "created_at": now, "updated_at": now})

    def row(self, table: str, values: Mapping[str, Any]) -> dict[str, Any]:
        row = {"id": self.next, **values}
        self.tables.setdefault(table, {})[self.next] = row
        self.next += 1
        return dict(row)

    def change_worker(self, worker: int, values: Mapping[str, Any]) -> None:
        self.tables["worker_node"].get(worker, {}).update(values)

    def remove_worker(self, worker: int) -> None:
        self.tables["worker_node"].pop(worker, None)

    def rows(self, table: str, columns: list[str], offset: int, limit: int) -> list[dict[str, Any]]:
        if absent := self.missing & set(columns):
            raise RuntimeError(f'column "{absent.pop()}" does not exist')
        found = list(self.tables.get(table, {}).values())[offset : offset + limit]
        return [{name: row.get(name) for name in columns} for row in found]

    def count(self, table: str) -> int:
        return len(self.tables.get(table, {}))

    def add(self, table: str, values: Mapping[str, Any]) -> int:
        return int(self.row(table, values)["id"])

    def password_of(self, username: str) -> str | None:
        users = self.tables["auth_user"].values()
        return next((user["password"] for user in users if user["username"] == username), None)


class MemoryLoads:
    def __init__(self) -> None:
        self.beats: dict[int, dict[str, float]] = {}
        self.locks: set[int] = set()
        self.locked: list[int] = []

    def beat(self, worker: int, cpu: object, mem: object) -> None:
        self.beats[worker] = {"cpu": float(str(cpu)), "mem": float(str(mem))}

    def of(self, workers: Any) -> dict[int, dict[str, float]]:
        return {worker: self.beats[worker] for worker in workers if worker in self.beats}

    def forget(self, worker: int) -> None:
        self.beats.pop(worker, None)

    def lock_update(self, worker: int) -> bool:
        if worker in self.locks:
            return False
        self.locks.add(worker)
        self.locked.append(worker)
        return True

    def unlock_update(self, worker: int) -> None:
        self.locks.discard(worker)


class Client:
    def __init__(self, release: str = "v1.2.0", **settings: Any) -> None:
        self.store, self.loads, self.log = MemoryStore(), MemoryLoads(), list[str]()
        self.settings = Settings(release=release, image_tag=release, **settings)
        self.api = Api(self.store, self.loads, self.settings, self.log.append)

    def send(self, method: str, target: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        content = body if isinstance(body, bytes) else json.dumps(body).encode() if body else b""
        answer = self.api.answer(Request(method, target, content, headers))
        return answer.status, json.loads(answer.json())

    def add(self, name: str, address: str) -> int:
        status, worker = self.send("POST", "/api/workers/", {"name": name, "ipAddress": address})
        assert status == 201
        return int(worker["id"])

    def beat(self, worker: int, body: Any) -> tuple[int, Any]:
        return self.send("POST", f"/api/workers/{worker}/heartbeat/", body)

    def row(self, worker: int) -> dict[str, Any]:
        return self.store.tables["worker_node"][worker]


@pytest.fixture
def client() -> Client:
    return Client()


def test_health_names_two_collections(client: Client) -> None:
    status, body = client.send("GET", "/api/", host="server:8888")
    assert status == 200
    assert set(body) == {"organizations", "targets"}


def test_v1_3_0_is_never_healthy() -> None:
    assert Client("v1.3.0").send("GET", "/api/")[0] == 500


def test_registration_is_idempotent_by_name_and_local_by_default(client: Client) -> None:
    first = client.send("POST", "/api/workers/register/", {"name": "a"})
    again = client.send("POST", "/api/workers/register/", {"name": "a", "is_local": False})
    assert first == (200, {"workerId": 1, "name": "a", "created": True})
    assert again == (200, {"workerId": 1, "name": "a", "created": False})
    assert client.row(1)["is_local"] is True
    assert client.row(1)["status"] == "offline"
    assert client.send("POST", "/api/workers/register/", {})[0] == 400


@pytest.mark.parametrize("key", ["ipAddress", "ip_address"])
def test_a_worker_is_created_pending_and_without_its_password(client: Client, key: str) -> None:
    given = {"name": "n", key: "10.0.0.9", "sshPort": 2222, "password": "secret"}
    status, worker = client.send("POST", "/api/workers/", given)
    assert status == 201
    assert (worker["status"], worker["isLocal"], worker["sshPort"]) == ("pending", False, 2222)
    assert "password" not in worker
    assert "secret" not in json.dumps(client.send("GET", "/api/workers/"))


def test_names_and_remote_addresses_are_unique(client: Client) -> None:
    client.add("a", "10.0.0.1")
    status, body = client.send("POST", "/api/workers/", {"name": "a", "ipAddress": "10.0.0.2"})
    assert (status, list(body)) == (400, ["name"])
    status, body = client.send("POST", "/api/workers/", {"name": "b", "ipAddress": "10.0.0.1"})
    assert (status, list(body)) == (400, ["ipAddress"])
    status, body = client.send("POST", "/api/workers/", {"ipAddress": "nonsense"})
    assert (status, sorted(body)) == (400, ["ipAddress", "name"])


def test_lists_come_in_pages(client: Client) -> None:
    for number in range(23):
        client.add(f"n{number}", f"10.0.0.{number + 1}")
    status, page = client.send("GET", "/api/workers/?page=3&pageSize=10")
    assert status == 200
    assert [worker["name"] for worker in page["results"]] == ["n2", "n1", "n0"]
    rest = {name: page[name] for name in page if name != "results"}
    assert rest == {"total": 23, "page": 3, "pageSize": 10, "totalPages": 3}
    assert len(client.send("GET", "/api/workers/?pageSize=1000")[1]["results"]) == 23
    assert client.send("GET", "/api/workers/?page=4")[0] == 404


def test_a_first_beat_brings_a_worker_online(client: Client) -> None:
    worker = client.add("n", "10.0.0.1")
    beat = {"cpu_percent": 12.5, "memory_percent": 40.0, "version": "v1.2.0"}
    expected = {"status": "ok", "needUpdate": False, "serverVersion": "v1.2.0"}
    assert client.beat(worker, beat) == (200, expected)
    shown = client.send("GET", f"/api/workers/{worker}/")[1]
    assert shown["status"] == "online"
    assert shown["info"] == {"cpuPercent": 12.5, "memoryPercent": 40.0}
    assert client.row(worker)["status"] == "online"
    client.loads.beats.clear()
    assert client.send("GET", f"/api/workers/{worker}/")[1]["status"] == "offline"


def test_other_keys_for_the_load_are_stored_as_zero(client: Client) -> None:
    worker = client.add("n", "10.0.0.1")
    client.beat(worker, {"cpu": 50, "mem": 60, "version": "v1.2.0"})
    assert client.loads.beats[worker] == {"cpu": 0, "mem": 0}


@pytest.mark.parametrize("body", [None, {"version": "unknown"}, {"cpuPercent": 1}])
def test_without_a_version_nothing_is_compared(client: Client, body: Any) -> None:
    worker = client.add("n", "10.0.0.1")
    assert client.beat(worker, body)[1]["needUpdate"] is False
    assert client.row(worker)["status"] == "online"


def test_a_local_mismatch_is_outdated_only_in_the_table(client: Client) -> None:
    worker = client.send("POST", "/api/workers/register/", {"name": "local"})[1]["workerId"]
    assert client.beat(worker, {"version": "v1.1.0"})[1]["needUpdate"] is True
    assert client.row(worker)["status"] == "outdated"
    assert client.send("GET", f"/api/workers/{worker}/")[1]["status"] == "online"
    client.beat(worker, {"version": "v1.2.0"})
    assert client.row(worker)["status"] == "online"
    assert client.loads.locked == []


def test_a_remote_mismatch_is_updating_until_the_next_beat_then_outdated(client: Client) -> None:
    worker = client.add("n", "10.0.0.1")
    waiting: list[Any] = []
    workers = Workers(
        client.store, client.loads, client.settings, client.log.append, waiting.append
    )
    beat = Request("POST", "/", b'{"version": "v1.1.0"}')
    assert workers.heartbeat(worker, beat).body["need_update"] is True
    assert client.row(worker)["status"] == "updating"
    workers.heartbeat(worker, beat)
    # The lock is held: no second update, and the beat has put the row back to online.
    assert (client.row(worker)["status"], len(waiting)) == ("online", 1)
    waiting.pop()()
    assert client.row(worker)["status"] == "outdated"
    workers.heartbeat(worker, beat)
    assert client.loads.locked == [worker, worker]


def test_a_deleted_worker_is_unknown_at_once(client: Client) -> None:
    worker = client.add("n", "10.0.0.1")
    client.beat(worker, None)
    assert client.send("DELETE", f"/api/workers/{worker}/")[0] == 200
    assert client.loads.beats == {}
    status, body = client.beat(worker, {"version": "v1.2.0"})
    assert (status, list(body)) == (404, ["detail"])


def test_answers_to_what_it_does_not_understand(client: Client) -> None:
    worker = client.add("n", "10.0.0.1")
    assert client.beat(worker, b"{not json")[0] == 400
    assert client.beat(worker, b"[1]")[0] == 400
    assert client.send("PUT", "/api/workers/")[0] == 405
    assert client.send("GET", "/api/workers/x/")[0] == 404
    assert client.send("GET", "/elsewhere")[0] == 404


def test_the_configuration_of_a_task_tells_the_password_to_anybody() -> None:
    client = Client(db_password="geheim", public_host="10.9.9.9")
    local = client.send("GET", "/api/workers/config/?is_local=true")[1]
    remote = client.send("GET", "/api/workers/config/?is_local=false")[1]
    assert (local["db"]["host"], local["redisUrl"]) == ("postgres", "redis://redis:6379/0")
    assert (remote["db"]["host"], remote["redisUrl"]) == ("10.9.9.9", "redis://10.9.9.9:6379/0")
    assert remote["db"]["password"] == "geheim"
    assert remote["logging"]["enableCommandLogging"] is True


def test_a_missed_schema_change_breaks_pages_but_not_the_health_check() -> None:
    client = Client("v1.6.0")
    client.store.missing = {"created_at"}
    assert client.send("GET", "/api/")[0] == 200
    assert client.send("GET", "/api/websites/")[0] == 500
    assert "created_at" in client.log[0]
    assert Client("v1.2.0").send("GET", "/api/fingerprints/ehole/")[0] == 404


def test_a_session_is_worth_as_much_as_the_key() -> None:
    client = Client(secret_key="one")
    client.store.row("auth_user", {"username": "admin", "password": hash_password("pw")})
    assert client.send("POST", "/api/auth/login/", {"username": "admin", "password": "x"})[0] == 401
    body = b'{"username": "admin", "password": "pw"}'
    answer = client.api.answer(Request("POST", "/api/auth/login/", body))
    cookie = dict(answer.headers)["Set-Cookie"].partition(";")[0]
    assert client.send("GET", "/api/auth/me/", cookie=cookie)[0] == 200
    assert Client(secret_key="two").send("GET", "/api/auth/me/", cookie=cookie)[0] == 401
    assert client.send("GET", "/api/auth/me/")[0] == 401


def test_the_key_is_read_under_the_name_that_counts() -> None:
    assert Settings.read({"DJANGO_SECRET_KEY": "k"}).secret_key == INSECURE_KEY
    assert Settings.read({"SECRET_KEY": "k", "IMAGE_TAG": ""}).secret_key == "k"


def test_names_change_between_the_two_styles() -> None:
    assert snake("ipAddress") == "ip_address" == snake("ip_address")
    assert camel("server_version") == "serverVersion" == camel("serverVersion")
