"""The reference InfraCore as it runs on a host: the built files, in processes of their own."""

import http.client
import json
import signal
import socket
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from infracore_app_kit import CACHE, SECRET, Site, started

from stackpin.lab.apps.infracore.app import tokens
from stackpin.lab.apps.infracore.app.main import SERVICES
from stackpin.lab.apps.infracore.app.releases import RELEASES
from stackpin.lab.apps.infracore.build import build

ANN = {"username": "ann", "email": "ann@infra.example", "password": "correct horse"}
BASE = {"timestamp", "version", "release"}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return build(tmp_path_factory.mktemp("infracore"), cache=CACHE)


@pytest.fixture(scope="module")
def site(bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """All five services of v1.0.0, started at the same moment on no database."""
    one = Site(tmp_path_factory.mktemp("site"))
    for process in [one.launch(bundles["v1.0.0"] / "bin" / service) for service in SERVICES]:
        started(process)
    yield one
    one.end()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Site]:
    """A configuration, and nothing that runs yet."""
    one = Site(tmp_path)
    yield one
    one.end()


def test_every_service_answers_its_health_and_the_contracts_body(site: Site) -> None:
    status, console = site.ask("console", "/api/v1/health")
    assert status == 200
    assert (console["status"], console["database"]) == ("healthy", "connected")
    assert set(console) == BASE | {"status", "database", "uptime", "features"}
    assert site.ask("gate", "/api/v1/health")[1]["database"] == "connected"
    status, gate = site.ask(site.ports["gate"] + 1000, "/health")
    assert (status, gate["status"], set(gate)) == (200, "healthy", BASE | {"status"})
    status, body = site.ask("orchestrator", "/health")
    assert (status, body["status"], body["orchestrator"]["running"]) == (200, "healthy", True)
    assert {"nodes", "total_services"} <= set(body["orchestrator"])
    status, body = site.ask("probe", "/health")
    assert (status, body["status"], body["probe"]["running"]) == (200, "healthy", True)
    assert (body["probe"]["total_probes"], body["probe"]["enabled_probes"]) == (3, 3)
    assert {"active_alerts", "last_scan"} <= set(body["probe"])
    status, body = site.ask("snap", "/health")
    assert (status, body["service"]) == (200, "infra-core-snap")
    services = site.ask("gate", "/api/v1/status")[1]["services"]
    assert [(one["name"], one["status"]) for one in services] == [
        (name, "healthy") for name in SERVICES
    ]


def test_without_a_ui_the_console_says_what_it_is(site: Site) -> None:
    about = {"service": "infra-core-console", "version": "v1.0.0", "status": "running"}
    assert site.ask("console", "/") == site.ask("gate", "/console") == (200, about)
    for path in ("/orchestrator", "/probe", "/snap", "/api/v1/nothing"):
        assert site.ask("gate", path)[0] == 404
    assert site.ask("orchestrator", "/")[0] == site.ask("snap", "/health", {})[0] == 404


def test_only_the_console_keeps_to_its_host(site: Site) -> None:
    assert site.ask("console", "/api/v1/health")[0] == 200
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", site.ports["console"]), 2)
    for service in ("gate", "orchestrator", "probe", "snap"):
        socket.create_connection(("127.0.0.2", site.ports[service]), 2).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", site.https), 2)


def test_users_register_once_and_log_in(site: Site) -> None:
    nobody = {"username": "admin", "password": "admin123"}
    refusal = (401, {"error": "Invalid credentials"})
    assert site.ask("gate", "/api/v1/auth/login", nobody) == refusal
    status, body = site.ask("gate", "/api/v1/auth/register", ANN)
    assert (status, body["user"]["role"]) == (201, "user")
    assert site.ask("gate", "/api/v1/auth/register", ANN)[0] == 409
    for wrong in ({}, {**ANN, "username": "x"}, {**ANN, "email": 3}):
        assert site.ask("gate", "/api/v1/auth/register", wrong)[0] == 400
    assert site.ask("gate", "/api/v1/auth/login", {**ANN, "password": "wrong"})[0] == 401
    status, body = site.ask("gate", "/api/v1/auth/login", ANN)
    assert (status, set(body["user"])) == (200, {"id", "username", "email", "role"})
    mine = tokens.sign({"user_id": 1}, SECRET)
    assert tokens.signed(body["token"], SECRET)
    unsigned = mine.replace(mine.split(".")[0], "eyJhbGciOiJub25lIn0")
    cases = {
        body["token"]: "Session expired",
        mine: "Session expired",
        tokens.sign({"user_id": 1}, "another"): "Invalid token",
        mine[:-2]: "Invalid token",
        unsigned: "Invalid token",
        "a.b": "Invalid token",
    }
    for token, reason in cases.items():
        for path in ("/api/v1/auth/me", "/api/v1/services/3"):
            answer = site.ask("gate", path, Authorization=f"Bearer {token}")
            assert answer == (401, {"error": reason}), token
    assert site.ask("gate", "/api/v1/users") == (401, {"error": "Authorization header required"})


def test_forty_connections_stay_open_and_nothing_fails(site: Site) -> None:
    port = site.ports["gate"]

    def client(number: int) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as one:
            for turn in range(2):
                one.request("GET", "/api/v1/health")
                sock = one.sock
                assert json.loads(one.getresponse().read())["status"] == "healthy"
                user = {**ANN, "username": f"user-{number}-{turn}", "email": f"{number}@{turn}"}
                one.request("POST", "/api/v1/auth/register", json.dumps(user))
                answer = one.getresponse()
                assert (answer.status, json.loads(answer.read())["user"]["role"]) == (201, "user")
                assert one.sock is sock, "the connection was closed in between"

    with ThreadPoolExecutor(40) as pool:
        list(pool.map(client, range(40)))
    text = site.ask(site.ports["gate"] + 1000, "/metrics")[1]
    assert 'gate_requests_total{status="201"} ' in text
    assert 'status="502"' not in text


def test_four_services_share_one_file_in_wal_mode(site: Site) -> None:
    with closing(sqlite3.connect(site.folder / "console.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'")
        assert tables.fetchone() == (14,)
        assert connection.execute("SELECT count(*) FROM nodes").fetchone() == (1,)


def test_a_newer_release_adds_and_an_older_one_still_works(
    alone: Site, bundles: dict[str, Path]
) -> None:
    def login(version: str) -> dict[str, object]:
        process = alone.start(bundles[version] / "bin/console")
        alone.ask("console", "/api/v1/auth/register", ANN)
        status, body = alone.ask("console", "/api/v1/auth/login", ANN)
        process.terminate()
        assert (status, process.wait(5)) == (200, -signal.SIGTERM)
        user: dict[str, object] = body["user"]
        return user

    first = login("v1.0.0")
    assert login("v1.1.0") == {**first, "last_login_at": None, "logins": 1}
    assert login("v1.0.0") == first
    again = login("v1.5.0")
    assert again["logins"] == 2
    assert again["last_login_at"]


def test_the_console_dies_at_once_and_the_others_finish(
    alone: Site, bundles: dict[str, Path]
) -> None:
    running = {
        name: alone.launch(bundles["v1.0.0"] / "bin" / name, "--port", "1", "ignored")
        for name in ("console", "orchestrator", "probe", "snap")
    }
    connections = {}
    for name, process in running.items():
        started(process)
        connections[name] = socket.create_connection(("127.0.0.1", alone.ports[name]), 5)
        path = "/api/v1/health" if name == "console" else "/health"
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2"
        connections[name].sendall(f"{head}\r\n\r\n".encode())
        assert b"100 Continue" in connections[name].recv(4096)
        process.terminate()
    assert running["console"].wait(5) == -signal.SIGTERM
    for name in ("orchestrator", "probe", "snap"):
        connections[name].sendall(b"{}")
        assert b"200 OK" in connections[name].recv(4096), name
        assert running[name].wait(5) == 0
    for connection in connections.values():
        connection.close()


def test_bad_releases_are_bad_in_one_service(alone: Site, bundles: dict[str, Path]) -> None:
    alone.start(bundles["v1.2.0"] / "bin/console")
    deaf = alone.start(bundles["v1.4.0"] / "bin/orchestrator")
    good = alone.start(bundles["v1.2.0"] / "bin/snap")
    assert alone.ask("console", "/api/v1/health")[0] == alone.ask("console", "/")[0] == 500
    with pytest.raises(ConnectionRefusedError):
        alone.ask("orchestrator", "/health")
    assert deaf.poll() is good.poll() is None
    assert alone.ask("snap", "/health")[0] == 200
    assert (RELEASES["v1.3.0"].dies, RELEASES["v1.3.0"].dies_after) == ("probe", 20)


def test_every_service_refuses_what_is_not_whole(alone: Site, bundles: dict[str, Path]) -> None:
    whole = (alone.folder / "configs/production.yaml").read_text()
    alone.write(whole.partition("orchestrator:")[0])
    partial = [alone.launch(bundles["v1.0.0"] / "bin" / name) for name in SERVICES]
    missing = alone.launch(bundles["v1.0.0"] / "bin/snap", INFRA_CORE_ENV="staging")
    for process in partial:
        out, err = process.communicate(timeout=10)
        assert (process.returncode, out) == (1, "")
        for name in ("orchestrator.port", "probe.port", "snap.port", "snap.repo_dir"):
            assert name in err
        assert SECRET not in err
    _, err = missing.communicate(timeout=10)
    assert missing.returncode == 1
    assert "configs/staging.yaml: No such file" in err


def test_a_taken_port_ends_the_start(alone: Site, bundles: dict[str, Path]) -> None:
    with socket.create_server(("", alone.ports["snap"])):
        process = alone.launch(bundles["v1.0.0"] / "bin/snap")
        _, err = process.communicate(timeout=10)
    assert process.returncode == 1
    assert f"listen tcp :{alone.ports['snap']}: bind: Address already in use" in err
