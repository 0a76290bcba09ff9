"""Checks and the gate rule, against a real server on loopback."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpin.host import checks_local
from stackpin.host.checks import run_checks
from stackpin.host.checks_http import judge
from stackpin.host.gate import evaluate, explain
from stackpin.host.masking import MASK, Masker
from stackpin.host.stack import Stack

TOKEN = "a$b & |/\"'x ü{env}"
STACK = Stack.from_json("crm", {"ports": {"blue": 1, "green": 2, "rehearsal": 3}})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/slow":
            time.sleep(3)
        sent = self.headers.get("Authorization", "").encode("latin-1").decode("utf-8")
        bodies = {
            "/healthz": b"ok\n",
            "/echo": f"padding{'x' * 280} {sent} {quote(sent)}".encode(),
            "/auth": json.dumps({"packs": [], "you": sent}).encode(),
            "/metrics": b'# TYPE a gauge\nactive_hosts 1\nlabelled{a="b"} 2\n',
        }
        body = bodies.get(self.path)
        wrong = self.path == "/auth" and sent != f"Bearer {TOKEN}"
        self.send_response(404 if body is None else 401 if wrong else 200)
        self.send_header("X-App-Version", "v1.0.0")
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *args: object) -> None:
        """Stay quiet."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def check(path: str = "/healthz", **more: Any) -> dict[str, Any]:
    url = "http://127.0.0.1:{port}" + path
    return {"name": path.strip("/"), "kind": "http", "url": url, "where": "slot", **more}


def run(port: int | None, *checks: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    values: dict[str, Any] = {
        "env": {"APP_TOKEN": TOKEN},
        "where": {"slot", "host"},
        "version": "v1.0.0",
    }
    return run_checks(STACK, list(checks), port=port, **{**values, **more})


def test_a_good_answer_passes_and_says_what_was_expected(port: int) -> None:
    (result,) = run(port, check(body="ok", version_header="X-App-Version"))
    assert result["ok"]
    assert result["expected"] == "status 200, body 'ok', header X-App-Version: v1.0.0"
    assert result["got"] == "status 200: ok"
    assert result["detail"].endswith("/healthz")
    assert set(result) == {
        "name", "where", "ok", "required", "weight", "seconds", "expected", "got", "detail",
    }  # fmt: skip


def test_a_token_with_every_metacharacter_arrives(port: int) -> None:
    headers = {"Authorization": "Bearer {env:APP_TOKEN}"}
    (result,) = run(port, check("/auth", headers=headers, json_has={"packs": []}))
    assert result["ok"], result


def test_secrets_echoed_by_the_server_are_masked_also_where_the_text_is_cut(port: int) -> None:
    headers = {"Authorization": "Bearer {env:APP_TOKEN}"}
    (result,) = run(port, check("/echo", headers=headers, status=500))
    assert not result["ok"]
    assert MASK in result["got"]
    for shape in (TOKEN, TOKEN[:4], quote(TOKEN)[:6]):
        assert shape not in json.dumps(result, ensure_ascii=False)


def test_an_environment_without_the_variable_is_named(port: int) -> None:
    (result,) = run(port, check("/auth", headers={"Authorization": "{env:GONE}"}))
    assert not result["ok"]
    assert result["expected"] == "GONE to be set"


def test_a_hanging_answer_ends_at_the_timeout_and_others_do_not_wait(port: int) -> None:
    started = time.monotonic()
    slow, fast = run(port, check("/slow", timeout=0.3), check())
    assert time.monotonic() - started < 1.5
    assert not slow["ok"]
    assert slow["got"] == "none within 0.3 s"
    assert fast["ok"]


def test_where_and_a_missing_port(port: int) -> None:
    assert run(port, check(where="public")) == []
    (result,) = run(None, check())
    assert not result["ok"]
    assert "{port}" in result["expected"]


def test_a_refused_connection_is_a_failed_result() -> None:
    (result,) = run(1, check())
    assert not result["ok"]
    assert "refused" in result["got"]


def test_unknown_kinds_and_broken_checks_fail_instead_of_raising() -> None:
    odd, broken = run(1, {"name": "x", "kind": "odd"}, {"name": "y", "kind": "http"})
    assert "odd" in odd["got"]
    assert not broken["ok"]


def test_the_sqlite_check(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as db:
        db.executescript(
            "CREATE TABLE t(x); CREATE TABLE schema_migrations(version); "
            "INSERT INTO schema_migrations VALUES (7);"
        )
    db.close()
    base = {"name": "db", "kind": "sqlite", "where": "host", "path": str(path)}
    good, missing, version, absent = run(
        None,
        {**base, "tables": ["t"], "schema_version": 7},
        {**base, "tables": ["gone"]},
        {**base, "schema_version": "8"},
        {**base, "path": str(tmp_path / "none.db")},
    )
    assert good["ok"], good
    assert "no table gone" in missing["got"]
    assert not version["ok"]
    assert absent["got"] == "absent"
    path.write_bytes(b"this is no database at all, but long enough to be read" * 100)
    (damaged,) = run(None, base)
    assert not damaged["ok"]


def test_tcp_certificate_and_exit_code_look_where_they_are_told(tmp_path: Path) -> None:
    pem, key = tmp_path / "a.crt", tmp_path / "a.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "10", "-subj",
         "/CN=a", "-keyout", str(key), "-out", str(pem)],
        check=True, capture_output=True,
    )  # fmt: skip
    here = {"where": "host"}
    with socket.create_server(("127.0.0.2", 0)) as server:
        port = server.getsockname()[1]
        there, elsewhere = run(
            None,
            {**here, "name": "t", "kind": "tcp", "host": "127.0.0.2", "port": port},
            {**here, "name": "t", "kind": "tcp", "port": port},
        )
    young, old, odd = run(
        None,
        {**here, "name": "c", "kind": "certificate", "path": str(pem), "days": 9},
        {**here, "name": "c", "kind": "certificate", "path": str(pem), "days": 30},
        {**here, "name": "e", "kind": "command", "argv": ["sh", "-c", "exit 7"], "exit_code": 7},
    )
    assert [one["ok"] for one in (there, elsewhere, young, old, odd)] == [
        True, False, True, False, True,
    ]  # fmt: skip


def test_disk_memory_permissions_and_command(tmp_path: Path) -> None:
    secret = tmp_path / "env"
    secret.write_text("x")
    secret.chmod(0o644)
    answers = run(
        None,
        {"name": "disk", "kind": "disk", "where": "host", "path": "/", "free_mb": 1},
        {"name": "memory", "kind": "memory", "where": "host", "available_mb": 10**9},
        {
            "name": "mode",
            "kind": "permissions",
            "where": "host",
            "path": str(secret),
            "mode": "600",
        },
        {
            "name": "run",
            "kind": "command",
            "where": "host",
            "argv": ["echo", TOKEN],
            "exit_code": 1,
        },
        {"name": "none", "kind": "command", "where": "host", "argv": ["no-such-program"]},
    )
    assert [item["ok"] for item in answers] == [True, False, False, False, False]
    assert "0644" in answers[2]["got"]
    assert answers[3]["got"] == f"exit 0: {MASK}"


def test_a_port_above_the_slots_own(port: int) -> None:
    (found,) = run(port - 1, check(url="http://127.0.0.1:{port+1}/healthz"))
    assert found["ok"], found
    assert found["detail"] == f"GET http://127.0.0.1:{port}/healthz"
    (absent,) = run(None, check(url="http://127.0.0.1:{port+1000}/healthz"))
    assert absent["expected"] == "{port+1000} to be set"


def test_the_share_in_use_counts_beside_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks_local, "_meminfo", {"MemTotal": 1000, "MemAvailable": 150}.get)
    disk = {"name": "d", "kind": "disk", "where": "host", "path": str(tmp_path / "not" / "yet")}
    memory = {"name": "m", "kind": "memory", "where": "host", "available_mb": 100}
    answers = run(
        None,
        {**disk, "free_mb": 1, "max_used_percent": 100},
        {**disk, "free_mb": 10**12, "max_used_percent": 100},
        {**memory, "max_used_percent": 85},
        {**memory, "max_used_percent": 84},
        {**memory, "available_mb": 151, "max_used_percent": 100},
    )
    assert [one["ok"] for one in answers] == [True, False, True, False, False]
    assert answers[3]["expected"] == "100 MiB of memory available, at most 84 % used"
    assert answers[3]["got"] == "150 MiB, 85.0 % used"
    used = shutil.disk_usage(tmp_path).used / (sum(shutil.disk_usage(tmp_path)[1:])) * 100
    assert abs(float(answers[0]["got"].split()[2]) - used) < 2


@pytest.mark.parametrize(
    ("expected", "status", "body", "ok", "told"),
    [
        ({}, 200, "", True, "status 200"),
        ({}, 302, "", False, "status 302"),
        ({"status": 401}, 401, "no", True, ""),
        ({"body": "ok"}, 200, "ok\n", True, ""),
        ({"body": "ok"}, 200, "not ok", False, "another body"),
        ({"contains": ["a", "b"]}, 200, "xa", False, "no 'b' in the body"),
        ({"json": {"packs": []}}, 200, '{"packs":[]}', True, ""),
        ({"json": {"n": 1}}, 200, '{"n":true}', False, "another JSON value"),
        ({"json_has": {"packs": []}}, 200, '{"packs":[1,2],"x":0}', True, ""),
        ({"json_has": {"packs": []}}, 200, '{"packs":null}', False, "no list at packs"),
        ({"json_has": {"a": {"b": 1}}}, 200, '{"a":{}}', False, "no key a.b"),
        ({"json_has": {"a": [{"id": 2}]}}, 200, '{"a":[{"id":1},{"id":2,"x":3}]}', True, ""),
        ({"json_has": {"a": None}}, 200, '{"a":5}', True, ""),
        ({"json_has": {"a": 1}}, 200, "<html>", False, "not JSON"),
        ({"series": ["up", "labelled"]}, 200, 'up 1\nlabelled{a="b"} 2\n', True, ""),
        ({"series": ["up"]}, 200, "# HELP up x\nupper 1\n", False, "no series up"),
        ({"response_headers": {"x-frame": "DENY"}}, 200, "", True, ""),
        ({"response_headers": {"Gone": "1"}}, 200, "", False, "no header Gone"),
        ({"version_header": "X-Version"}, 200, "", False, "header X-Version: v9"),
    ],
)
def test_judge(expected: dict[str, Any], status: int, body: str, ok: bool, told: str) -> None:
    headers = {"X-Frame": "DENY", "X-Version": "v9"}
    good, _, got = judge(expected, status, headers, body.encode(), "v1.0.0")
    assert good is ok
    assert told in got


def result(ok: bool, weight: float = 1.0, required: bool = False) -> dict[str, Any]:
    return {
        "name": "n", "where": "slot", "ok": ok, "required": required, "weight": weight,
        "seconds": 0.0, "expected": "e", "got": "g", "detail": "",
    }  # fmt: skip


def test_the_gate_rule() -> None:
    assert evaluate([result(True, 3), result(False, 1)], 0.75)["passed"]
    assert not evaluate([result(True, 2), result(False, 1)], 0.75)["passed"]
    outvoted = evaluate([result(True, 99), result(False, 1, required=True)], 0.75)
    assert outvoted["score"] == 0.99
    assert not outvoted["passed"]
    assert explain(outvoted) == "check n: expected e, got g"
    assert evaluate([result(True, 0.1), result(True, 0.2), result(True, 0.45), result(False, 0.25)],
                    0.75)["passed"]  # fmt: skip
    assert evaluate([], 0.75) == {
        "passed": True, "score": 1.0, "threshold": 0.75, "results": [], "log": [],
    }  # fmt: skip


@given(st.text(min_size=6, max_size=30).filter(str.strip), st.text(max_size=20))
def test_no_shape_of_a_secret_survives(secret: str, around: str) -> None:
    mask = Masker([secret])
    plain = base64.b64encode(secret.encode()).decode()
    for shape in (secret, quote(secret), plain, json.dumps(secret)[1:-1]):
        masked = mask(around + shape + around)
        assert MASK in masked or MASK in shape


def test_masker_takes_names_that_look_secret_and_leaves_the_rest() -> None:
    env = {"ADMIN_PASSWORD": "geheim1", "LOG_LEVEL": "info", "API_KEY": "k-1"}
    assert Masker.of(env)("geheim1 info k-1") == "*** info ***"
    assert Masker.of({}, ())("text") == "text"


def test_checks_without_weight_decide_by_being_required() -> None:
    assert evaluate([result(True, 0, required=True)], 0.75)["score"] == 1.0
    failed = evaluate([result(False, 0, required=True)], 0.75)
    assert (failed["passed"], failed["score"]) == (False, 0.0)
    assert evaluate([result(False, 0)], 0.75)["passed"]
    whole = evaluate([result(False, 0, required=True), result(True, 8)], 0.75)
    assert (whole["passed"], whole["score"]) == (False, 1.0)
