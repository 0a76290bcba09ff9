"""The reference CRM as it runs on a host: the built file, in its own process, over a socket."""

import hashlib
import http.client
import json
import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from stackpin.lab.apps.crm.app.releases import RELEASES
from stackpin.lab.apps.crm.build import ALL, build

TOKEN = "to $ken & | / \" ' \\ ü"
Json = dict[str, Any]


class Crm:
    """A running instance."""

    def __init__(self, process: subprocess.Popen[str], started: str) -> None:
        self.process = process
        self.started = started
        self.address = started.partition(" listens on ")[2].partition(",")[0]

    def ask(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, http.client.HTTPMessage, Any]:
        with closing(http.client.HTTPConnection(self.address, timeout=20)) as connection:
            content = None if body is None else json.dumps(body)
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, content, named)
            answer = connection.getresponse()
            text = answer.read()
            is_json = answer.headers.get_content_type() == "application/json"
            return answer.status, answer.headers, json.loads(text) if is_json else text.decode()

    def api(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        bearer = f"Bearer {TOKEN}".encode().decode("latin-1")
        status, _, value = self.ask(method, f"/api{path}", body, Authorization=bearer)
        return status, value


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return build(tmp_path_factory.mktemp("crm-programs"))


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "SUB2API_CRM_ADMIN_TOKEN": TOKEN,
        "SUB2API_CRM_LISTEN_ADDR": "127.0.0.1:0",
        "SUB2API_CRM_SQLITE_DSN": f"file:{folder}/crm.db?_foreign_keys=on&_busy_timeout=5000",
        **more,
    }


@pytest.fixture
def start(programs: dict[str, Path], tmp_path: Path) -> Iterator[Callable[..., Crm]]:
    running = []

    def run(version: str = "v1.0.0", **more: str) -> Crm:
        process = subprocess.Popen(
            [sys.executable, str(programs[version])],
            env=environment(tmp_path, **more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        assert process.stdout
        line = process.stdout.readline()
        assert line, process.stderr and process.stderr.read()
        return Crm(process, line)

    yield run
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    path = tmp_path / "repo"
    git(tmp_path, "init", "-q", str(path))
    return path


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@t", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def draft(provider: str = "moon", **manifest: object) -> Json:
    base: Json = {
        "display_name": "Moon ü",
        "base_url": "https://api.moon.example/v1",
        "models": ["moon-8k"],
    }
    return {"pack_id": "cn", "provider_id": provider, "manifest": {**base, **manifest}}


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as db:
        return {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type='table'")}


def test_the_contract_of_a_fresh_instance(start: Callable[..., Crm], tmp_path: Path) -> None:
    crm = start(STACKPIN_RELEASE="crm-7")
    status, headers, body = crm.ask("GET", "/healthz")
    assert (status, body, headers["X-App-Version"]) == (200, "ok", "v1.0.0")
    assert crm.api("GET", "/packs") == (200, {"packs": []})
    assert crm.api("GET", "/hosts") == (200, {"hosts": []})
    assert crm.ask("GET", "/api/version")[2] == {"version": "v1.0.0", "release": "crm-7"}
    for path in ("/api/packs", "/api/hosts", "/api/nothing-here", "/api/provider-drafts/1"):
        status, headers, body = crm.ask("GET", path)
        assert (status, list(body)) == (401, ["error"])
        assert headers["X-App-Version"] == "v1.0.0"
    status, _, metrics = crm.ask("GET", "/metrics")
    assert status == 200
    for series in ("active_hosts 0", "active_providers 0", "db_connections_active ", "process_"):
        assert f"\n{series}" in metrics
    assert len(tables(tmp_path / "crm.db")) == 22
    assert "schema_migrations" in tables(tmp_path / "crm.db")
    assert TOKEN not in crm.started
    assert "v1.0.0" in crm.started and "crm.db" in crm.started and "1, 2, 3, 4" in crm.started


def test_hosts_are_registered_once_and_listed_in_pages(start: Callable[..., Crm]) -> None:
    crm = start()
    for number in range(5):
        status, host = crm.api("POST", "/hosts", {"name": f"h{number}", "base_url": "http://h"})
        assert (status, host["name"]) == (201, f"h{number}")
    assert crm.api("POST", "/hosts", {"name": "h1", "base_url": "http://h"})[0] == 409
    first = crm.api("GET", "/hosts?limit=3")[1]["hosts"]
    rest = crm.api("GET", f"/hosts?limit=3&before={first[-1]['id']}")[1]["hosts"]
    assert [h["name"] for h in first + rest] == ["h4", "h3", "h2", "h1", "h0"]
    assert [h["name"] for h in crm.api("GET", "/hosts?name=h2")[1]["hosts"]] == ["h2"]
    assert crm.api("GET", f"/hosts/{first[0]['id']}")[1]["name"] == "h4"
    assert crm.api("GET", "/hosts/999")[0] == 404
    for bad in ("/hosts?limit=0", "/hosts?limit=x", "/hosts/-1", "/hosts/%00"):
        assert crm.api("GET", bad)[0] == 400, bad


def test_sessions(start: Callable[..., Crm]) -> None:
    crm = start(SUB2API_CRM_ADMIN_PASSWORD="pass wörd", SUB2API_CRM_ADMIN_SESSION_TTL="1h30m")
    login = {"username": "admin", "password": "pass wörd"}
    assert crm.ask("POST", "/api/admin/login", {**login, "password": TOKEN})[0] == 401
    status, headers, body = crm.ask(
        "POST", "/api/admin/login", login, X_Forwarded_Proto="https", Origin="http://evil.example"
    )
    assert status == 403
    status, headers, body = crm.ask("POST", "/api/admin/login", login, X_Forwarded_Proto="https")
    assert status == 200
    assert 5300 < body["expires_at"] - time.time() < 5500
    cookie = headers["Set-Cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=Strict", "Path=/", "Secure"))
    value = cookie.split(";")[0]
    assert crm.ask("GET", "/api/packs", Cookie=value)[0] == 200
    assert crm.ask("GET", "/api/admin/session", Cookie=value)[2]["authenticated"] is True
    for forged in (value[:-1] + ("0" if value[-1] != "0" else "1"), "crm_admin_session=e30.00"):
        assert crm.ask("GET", "/api/packs", Cookie=forged)[0] == 401
        assert crm.ask("GET", "/api/admin/session", Cookie=forged)[2] == {"authenticated": False}
    host = {"name": "a", "base_url": "http://a"}
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        assert crm.ask("POST", "/api/hosts", host, Cookie=value, Origin=origin)[0] == 403
    own = f"http://{crm.address}"
    assert crm.ask("POST", "/api/hosts", host, Cookie=value, Origin=own)[0] == 201
    other = start(SUB2API_CRM_ADMIN_PASSWORD="pass wörd")  # the other slot accepts the session
    assert other.ask("GET", "/api/packs", Cookie=value)[0] == 200
    assert other.ask("POST", "/api/admin/logout", Cookie=value)[0] == 204
    assert crm.ask("GET", "/api/packs", Cookie=value)[0] == 401


def test_the_password_is_the_token_unless_set(start: Callable[..., Crm]) -> None:
    login = {"username": "root", "password": TOKEN}
    crm = start(SUB2API_CRM_ADMIN_USERNAME="root")
    assert crm.ask("POST", "/api/admin/login", login)[0] == 200


def test_publishing_is_one_commit_or_nothing(start: Callable[..., Crm], repo: Path) -> None:
    crm = start(SUB2API_CRM_REPO_ROOT=str(repo))
    assert crm.api("POST", "/provider-drafts", draft())[0] == 201
    assert crm.api("POST", "/provider-drafts", draft())[0] == 409
    status, done = crm.api("POST", "/provider-drafts/1/publish")
    assert (status, done["version"], done["changed"]) == (200, "0.1.0", True)
    assert done["commit"] == git(repo, "rev-parse", "HEAD")
    pack = repo / "packs" / "cn"
    assert json.loads((pack / "providers/moon.json").read_text())["display_name"] == "Moon ü"
    subprocess.run(["sha256sum", "--quiet", "-c", "checksums.txt"], cwd=pack, check=True)
    assert crm.api("POST", "/provider-drafts/1/publish")[1]["changed"] is False

    crm.api("PUT", "/provider-drafts/1", draft(models=["moon-32k"]))
    assert crm.api("POST", "/provider-drafts/1/publish")[1]["version"] == "0.1.1"
    assert crm.api("GET", "/provider-drafts/1")[1]["status"] == "published"
    assert crm.api("GET", "/packs")[1]["packs"][0]["version"] == "0.1.1"
    assert crm.api("GET", "/packs/cn/providers")[1]["providers"][0]["models"] == ["moon-32k"]

    before = git(repo, "rev-parse", "HEAD")
    crm.api("PUT", "/provider-drafts/1", draft(base_url="not a url"))
    status, refusal = crm.api("POST", "/provider-drafts/1/publish")
    assert status == 422 and "base_url" in refusal["error"]
    assert (git(repo, "rev-parse", "HEAD"), git(repo, "status", "--porcelain")) == (before, "")

    crm.api("PUT", "/provider-drafts/1", draft(models=["moon-64k"]))
    (pack / "notes.txt").write_text("somebody is at work here")
    assert crm.api("POST", "/provider-drafts/1/publish")[0] == 409
    assert (pack / "notes.txt").exists()
    (pack / "notes.txt").unlink()

    # A process that was killed in the middle leaves a mess and a note about it.
    (repo / ".git" / "crm-publish.under-way").write_text("packs/cn")
    (pack / "pack.json").write_text("half")
    (pack / ".left.new").write_text("half")
    assert crm.api("POST", "/provider-drafts/1/publish")[1]["version"] == "0.1.2"
    assert git(repo, "status", "--porcelain") == ""
    assert crm.api("DELETE", "/provider-drafts/1")[0] == 204
    assert crm.api("GET", "/provider-drafts")[1] == {"drafts": []}


def test_publishing_needs_a_real_work_tree(
    start: Callable[..., Crm], repo: Path, tmp_path: Path
) -> None:
    (repo / "inside").mkdir()
    for root, expected in (("", 412), (str(tmp_path), 409), (str(repo / "inside"), 409)):
        crm = start(SUB2API_CRM_REPO_ROOT=root)
        crm.api("POST", "/provider-drafts", draft())
        assert crm.api("POST", "/provider-drafts/1/publish")[0] == expected
    (repo / "packs").symlink_to(tmp_path)
    crm = start(SUB2API_CRM_REPO_ROOT=str(repo))
    assert crm.api("POST", "/provider-drafts/1/publish")[0] in (409, 500)
    assert not (tmp_path / "cn").exists()


def test_two_processes_publish_at_once(start: Callable[..., Crm], repo: Path) -> None:
    pair = [start(SUB2API_CRM_REPO_ROOT=str(repo)) for _ in range(2)]
    ids = [
        pair[0].api("POST", "/provider-drafts", draft(f"p{number}"))[1]["id"] for number in range(4)
    ]
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda i: pair[i % 2].api("POST", f"/provider-drafts/{i}/publish"), ids)
        )
    assert [status for status, _ in answers] == [200] * 4
    assert git(repo, "rev-list", "--count", "HEAD") == "4"
    assert git(repo, "status", "--porcelain") == ""
    assert json.loads((repo / "packs/cn/pack.json").read_text())["version"] == "0.1.3"


def test_imports(start: Callable[..., Crm], repo: Path) -> None:
    crm = start(SUB2API_CRM_REPO_ROOT=str(repo))
    crm.api("POST", "/hosts", {"name": "h", "base_url": "http://h"})
    crm.api("POST", "/provider-drafts", draft())
    crm.api("POST", "/provider-drafts/1/publish")
    wanted = {"host_id": 1, "accounts": [{"name": "a", "api_key": "secret"}, {"name": "b"}]}
    assert crm.api("POST", "/providers/nobody/import", wanted)[0] == 404
    assert crm.api("POST", "/providers/moon/import", {**wanted, "host_id": 7})[0] == 404
    preview = crm.api("POST", "/providers/moon/preview-import", wanted)[1]
    assert [step["action"] for step in preview["plan"]] == ["add", "add"]
    assert crm.api("POST", "/providers/moon/import", wanted)[1]["created"] == 2
    assert crm.api("POST", "/providers/moon/import", wanted)[1]["skipped"] == 2
    items = [{"provider_id": "moon", "account": "c"}, {"provider_id": "nobody", "account": "d"}]
    status, run = crm.api("POST", "/batch-import/runs", {"host_id": 1, "items": items})
    assert (status, run["status"], run["failed"]) == (201, "completed_with_errors", 1)
    assert crm.api("GET", f"/batch-import/runs/{run['id']}")[1] == run
    found = crm.api("GET", f"/batch-import/runs/{run['id']}/items")[1]["items"]
    assert [item["status"] for item in found] == ["imported", "failed"]
    assert "active_providers 1" in crm.ask("GET", "/metrics")[2]


def test_two_instances_write_to_one_file(start: Callable[..., Crm], tmp_path: Path) -> None:
    pair = [start(), start()]

    def write(number: int) -> int:
        name = f"host-{number}"
        return pair[number % 2].api("POST", "/hosts", {"name": name, "base_url": "http://h"})[0]

    with ThreadPoolExecutor(12) as pool:
        assert set(pool.map(write, range(160))) == {201}
    with closing(sqlite3.connect(tmp_path / "crm.db")) as db:
        assert db.execute("SELECT count(*) FROM hosts").fetchone()[0] == 160
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_instances_that_start_together_migrate_once(
    programs: dict[str, Path], tmp_path: Path
) -> None:
    together = [
        subprocess.Popen(
            [sys.executable, str(programs["v1.1.0"])],
            env=environment(tmp_path),
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    lines = [process.stdout.readline() for process in together if process.stdout]
    for process in together:
        process.terminate()
    assert [process.wait(15) for process in together] == [0] * 4
    for process in together:
        process.communicate()
    assert all("listens on" in line for line in lines)
    applied = ", ".join(line.strip().split("migrations: ")[1] for line in lines)
    assert sorted(n for n in applied.split(", ") if n != "none") == list("12345")


def test_data_of_the_next_release_survives_going_back(
    start: Callable[..., Crm], tmp_path: Path
) -> None:
    old = start()
    old.api("POST", "/hosts", {"name": "old", "base_url": "http://h"})
    new = start("v1.1.0")
    assert new.ask("GET", "/api/version")[2]["features"] == ["host-labels"]
    host = {"name": "new", "base_url": "http://h", "region": "cn-north", "labels": {"tier": "1"}}
    assert new.api("POST", "/hosts", host)[1]["labels"] == {"tier": "1"}
    assert old.api("POST", "/hosts", {"name": "overlap", "base_url": "http://h"})[0] == 201
    new.process.terminate()
    assert new.process.wait(15) == 0
    back = start()
    assert back.started.strip().endswith("migrations: none")
    assert [h["name"] for h in back.api("GET", "/hosts")[1]["hosts"]] == ["overlap", "new", "old"]
    again = start("v1.1.0")
    assert again.api("GET", "/hosts/2")[1]["region"] == "cn-north"
    assert len(tables(tmp_path / "crm.db")) == 23


def test_a_release_whose_api_is_broken(start: Callable[..., Crm]) -> None:
    crm = start("v1.2.0")
    assert crm.ask("GET", "/healthz")[2] == "ok"
    assert crm.api("GET", "/packs")[0] == 500
    assert crm.ask("GET", "/api/version")[0] == 500
    assert crm.ask("GET", "/metrics")[0] == 200


def test_a_release_whose_migration_fails(
    start: Callable[..., Crm], programs: dict[str, Path], tmp_path: Path
) -> None:
    good = start("v1.1.0")
    before = tables(tmp_path / "crm.db")
    bad = subprocess.run(
        [str(programs["v1.3.0"])],  # by its first line, as systemd starts it
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert bad.returncode == 1
    assert "migration 6" in bad.stderr and "Traceback" not in bad.stderr
    assert tables(tmp_path / "crm.db") == before
    assert good.api("POST", "/hosts", {"name": "h", "base_url": "http://h"})[0] == 201


def test_a_release_that_is_slow_to_listen(programs: dict[str, Path], tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    slow = subprocess.Popen(
        [sys.executable, str(programs["v1.5.0"])],
        env=environment(tmp_path, SUB2API_CRM_LISTEN_ADDR=f"127.0.0.1:{port}"),
        stdout=subprocess.PIPE,
    )
    until = time.monotonic() + 5
    while not (tmp_path / "crm.db").exists() or len(tables(tmp_path / "crm.db")) < 23:
        assert time.monotonic() < until
        time.sleep(0.05)
    time.sleep(0.3)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 1)
    slow.terminate()  # it obeys while it is still starting, too
    assert slow.communicate(timeout=3) == (b"", None)
    assert slow.returncode == 0
    assert RELEASES["v1.5.0"].listens_after == 6


def test_a_release_that_dies(programs: dict[str, Path]) -> None:
    source = "import sys, time; sys.path.insert(0, sys.argv[1]); "
    source += "from apps.serving.crash import crash_after; "
    source += "crash_after(0.2, 'fatal error'); time.sleep(5)"
    dead = subprocess.run(
        [sys.executable, "-c", source, str(programs["v1.4.0"])],
        capture_output=True,
        timeout=10,
        check=False,
    )
    assert dead.returncode == 2 and b"fatal error" in dead.stderr
    assert RELEASES["v1.4.0"].dies_after == 10


@contextmanager
def raw(crm: Crm) -> Iterator[socket.socket]:
    host, port = crm.address.rsplit(":", 1)
    with closing(socket.create_connection((host, int(port)), 10)) as sock:
        yield sock


def test_sigterm_finishes_what_is_under_way(start: Callable[..., Crm]) -> None:
    crm = start()
    bearer = f"Bearer {TOKEN}".encode().decode("latin-1")
    body = b'{"name":"last","base_url":"http://h"}'
    head = f"POST /api/hosts HTTP/1.1\r\nHost: h\r\nAuthorization: {bearer}\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    with raw(crm) as idle, raw(crm) as busy:
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        assert idle.recv(4096).endswith(b"ok")
        busy.sendall(head.encode("latin-1") + body[:10])
        time.sleep(0.2)
        crm.process.send_signal(signal.SIGTERM)
        assert idle.recv(4096) == b""  # an idle connection is let go, without a reset
        time.sleep(0.2)
        busy.sendall(body[10:])
        answer = busy.recv(4096)
        assert b" 201 " in answer and b"Connection: close" in answer
    assert crm.process.wait(10) == 0


def test_hostile_requests_get_an_answer_and_hurt_nobody(start: Callable[..., Crm]) -> None:
    crm = start()
    cases = {
        b"hello\r\n\r\n": 400,
        b"GET / HTTP/2.0\r\n\r\n": 400,
        b"GET /healthz HTTP/1.1\r\n\r\n": 400,
        b"GET http://h/healthz HTTP/1.1\r\nHost: h\r\n\r\n": 400,
        b"GET /healthz HTTP/1.1\r\nHost: h\r\nX : y\r\n\r\n": 400,
        b"GET /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n": 400,
        b"GET /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n": 413,
        b"POST /api/hosts HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\n\r\nx": 413,
        b"POST /api/hosts HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": 411,
        b"GET /healthz HTTP/1.1\r\nHost: h\r\nX: " + b"y" * 60000 + b"\r\n\r\n": 431,
        b'GET /healthz HTTP/1.1\r\nHost: h\r\nCookie: \xff\xfe=;;="\r\n\r\n': 200,
        b"GET /api/packs HTTP/1.1\r\nHost: h\r\nCookie: crm_admin_session=\xff.\xff\r\n\r\n": 401,
        b"GET /api/packs HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer \xff\r\n\r\n": 401,
        b"PATCH /healthz HTTP/1.1\r\nHost: h\r\n\r\n": 405,
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: h\r\n\r\n": 404,
        b"HEAD /healthz HTTP/1.0\r\n\r\n": 200,
    }
    for request, expected in cases.items():
        with raw(crm) as sock:
            sock.sendall(request)
            answer = sock.recv(65536)
            assert answer.split(b" ")[1] == str(expected).encode(), (request[:80], answer)
            assert b"X-App-Version: v1.0.0" in answer
    assert crm.ask("GET", "/healthz")[0] == 200


def test_it_refuses_to_start_and_says_why(programs: dict[str, Path], tmp_path: Path) -> None:
    cases = {
        "ADMIN_TOKEN": ("", "is required"),
        "LISTEN_ADDR": ("nowhere", "LISTEN_ADDR"),
        "SQLITE_DSN": ("file:/nonexistent/folder/x.db", "database"),
        "ADMIN_SESSION_TTL": ("soon", "duration"),
    }
    for name, (value, reason) in cases.items():
        done = subprocess.run(
            [sys.executable, str(programs["v1.0.0"])],
            env=environment(tmp_path, **{f"SUB2API_CRM_{name}": value}),
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert done.returncode == 1, name
        assert reason in done.stderr and done.stderr.count("\n") == 1
        assert TOKEN not in done.stderr


def test_the_access_log_is_off_unless_wanted_and_holds_no_secret(
    start: Callable[..., Crm],
) -> None:
    quiet, talking = start(), start(SUB2API_CRM_ACCESS_LOG="1")
    for crm in (quiet, talking):
        crm.api("GET", "/packs?token=hidden")
        crm.process.terminate()
    said = talking.process.communicate(timeout=15)[0]
    assert "GET /api/packs 200" in said and "hidden" not in said and TOKEN not in said
    assert "GET" not in quiet.process.communicate(timeout=15)[0]


def test_the_build_is_the_same_every_time(programs: dict[str, Path], tmp_path: Path) -> None:
    again = build(tmp_path / "again")
    assert list(again) == list(ALL)
    for version, path in again.items():
        assert path.read_bytes() == programs[version].read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o755
        assert path.read_bytes().startswith(b"#!/usr/bin/env python3\n")
    sums = (tmp_path / "again" / "SHA256SUMS").read_text().splitlines()
    assert [line.split("  ")[1] for line in sums] == [f"crm-{v}.pyz" for v in ALL]
    for line in sums:
        digest, name = line.split("  ")
        assert hashlib.sha256((tmp_path / "again" / name).read_bytes()).hexdigest() == digest
    assert len({line.split("  ")[0] for line in sums}) == len(ALL)
    with pytest.raises(ValueError, match="unknown version"):
        build(tmp_path, ["v9.9.9"])


def test_it_is_fast_enough(start: Callable[..., Crm]) -> None:
    """A floor far below what it does, so that a busy machine passes too."""
    crm = start()
    done = threading.Semaphore(0)

    def client() -> None:
        for _ in range(30):
            assert crm.ask("GET", "/healthz")[0] == 200
        done.release()

    began = time.monotonic()
    threads = [threading.Thread(target=client) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(done.acquire(timeout=0) for _ in threads)
    assert 180 / (time.monotonic() - began) > 100
