"""The care commands below a test root: uninstall lists, snapshots, restore's swap, findings."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stackpin.host import (
    findings,
    journal,
    nginx,
    preflight,
    preflight_paths,
    processes,
    restore,
    snapshot,
    sqlite_db,
    system,
    uninstall,
)
from stackpin.host.errors import HostError
from stackpin.host.stack import Stack
from stackpin.host.uninstall_paths import around, removable

RELEASE = "v1.0.0-00000001"
SETTINGS: dict[str, Any] = {
    "stack": "crm", "user": "root", "opt": "/opt/crm", "data": "/var/lib/crm",
    "ports": {"blue": 18190, "green": 18191, "rehearsal": 18192},
    "database": "/var/lib/crm/data/crm.db", "repo_root": "/var/lib/crm/repo",
    "listeners": {"allowed": ["22/tcp"]},
}  # fmt: skip


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """The CRM with one release in blue, below tmp_path."""
    monkeypatch.setenv("STACKPIN_ROOT", str(tmp_path))
    made = Stack.from_json("crm", SETTINGS)
    release = made.release_dir(RELEASE)
    for path in (release, made.slots_dir, made.live_data_dir, made.state_dir, made.settings_dir):
        path.mkdir(parents=True)
    (release / "server").write_bytes(b"#!/bin/sh\n")
    about = {"version": "v1.0.0", "artifact_sha256": hashlib.sha256(b"#!/bin/sh\n").hexdigest()}
    (release / "release.json").write_text(json.dumps(about))
    (release / "env").write_text('APP_TOKEN="geheim"\n')
    made.settings_file.write_text(json.dumps(SETTINGS))
    made.slot_link("blue").symlink_to(f"../releases/{RELEASE}")
    journal.append(made, "confirmed", release=RELEASE, slot="blue")
    write(made, 3)
    return made


def write(stack: Stack, rows: int) -> None:
    with closing(sqlite3.connect(stack.at(SETTINGS["database"]))) as db, db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE IF NOT EXISTS t(x)")
        db.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(rows)])


def test_uninstall_lists_around_what_stays(stack: Stack) -> None:
    repo = stack.at("/var/lib/crm/repo")
    (repo / ".git").mkdir(parents=True)
    (stack.settings_dir / "restic.password").write_text("x")
    (stack.backup_dir / "restic").mkdir(parents=True)
    (stack.backup_dir / "restic" / "config").write_text("x")
    listed = uninstall.uninstall_list(stack, {})
    gone = {item["path"] for item in listed["remove"] if "path" in item}
    assert str(stack.live_data_dir) in gone
    assert str(stack.settings_file) in gone
    assert str(stack.opt_dir) in gone
    kept = {item["path"] for item in listed["keep"]}
    for path in kept:
        assert not any(path == g or path.startswith(g + "/") for g in gone)
    assert len(kept) == 3
    both = uninstall.uninstall_list(stack, {"keep_backups": False})
    assert both["sha256"] != listed["sha256"]
    assert str(stack.backup_dir) in {item.get("path") for item in both["remove"]}


def test_uninstall_never_lists_what_is_not_ours(tmp_path: Path, stack: Stack) -> None:
    for bad in ("/", "/opt", "/var/lib", "/etc/nginx", "/home/alice", "/usr/local"):
        assert not removable(stack.at(bad))
    assert removable(stack.at("/srv/portal"))
    assert not removable(Path("/elsewhere/entirely"))
    absent = Stack.load("ghost")
    stack.at("/opt/ghost").mkdir()  # somebody else's: this stack was never installed
    assert uninstall.uninstall_list(absent, {})["remove"] == []


def test_around() -> None:
    assert around(Path("/a/b"), []) == [Path("/a/b")]
    assert around(Path("/a/b"), [Path("/a/b")]) == []
    assert around(Path("/a/b/c"), [Path("/a/b")]) == []


def test_a_snapshot_holds_rows_that_are_only_in_the_wal(stack: Stack, tmp_path: Path) -> None:
    path = stack.at(SETTINGS["database"])
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute("INSERT INTO t VALUES (99)")
        writer.commit()
        target = tmp_path / "snapshot"
        target.mkdir()
        meta = snapshot.build(stack, target, reason="test", release=None)
    assert meta["database"]["tables"] == {"t": 4}
    assert meta["release"] == RELEASE
    assert {"stack.json", "release/env", "database.sqlite"} <= set(meta["files"])
    assert snapshot.problems(target, snapshot.read_meta(target)) == []
    data = bytearray((target / "database.sqlite").read_bytes())
    data[100:200] = b"\xff" * 100
    (target / "database.sqlite").write_bytes(data)
    assert len(snapshot.problems(target, meta)) >= 2
    (target / "stack.json").unlink()
    assert "stack.json: absent" in snapshot.problems(target, meta)


def test_a_damaged_database_is_not_backed_up(stack: Stack, tmp_path: Path) -> None:
    stack.at(SETTINGS["database"]).write_bytes(b"rubbish" * 1000)
    with pytest.raises(HostError, match="no backup was made"):
        snapshot.build(stack, tmp_path, reason="test", release=None)


def test_a_copy_under_writers_is_consistent_and_complete(stack: Stack, tmp_path: Path) -> None:
    path, stop = stack.at(SETTINGS["database"]), threading.Event()
    done: list[int] = []

    def work() -> None:
        with closing(sqlite3.connect(path, timeout=10)) as db:
            while not stop.is_set():
                with db:
                    db.execute("INSERT INTO t VALUES (?)", (1000 + len(done),))
                done.append(len(done))
                stop.wait(0.001)  # where nothing is synced it would fill a small /tmp

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for turn in range(5):
            before = len(done)
            copy = tmp_path / f"copy{turn}.db"
            sqlite_db.copy(path, copy)
            with closing(sqlite_db.open_at_rest(copy)) as db:
                assert sqlite_db.integrity(db) == "ok"
                assert sqlite_db.row_counts(db)["t"] >= 3 + before
            assert not copy.with_name(copy.name + "-wal").exists()
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def swap(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A restore whose service is a function: starts, stops and safety backups are recorded."""
    seen: dict[str, Any] = {"fails": 0, "calls": []}
    source = tmp_path / "source.db"
    with closing(sqlite3.connect(source)) as db, db:
        db.execute("CREATE TABLE t(x)")
        db.execute("INSERT INTO t VALUES ('old')")

    def serve(_stack: Stack) -> dict[str, Any]:
        seen["calls"].append("serve")
        # A service that opens the database leaves a WAL beside it.
        with closing(sqlite3.connect(stack.at(SETTINGS["database"]))) as db:
            db.execute("PRAGMA journal_mode = WAL")
            seen["rows"] = db.execute("SELECT count(*) FROM t").fetchone()[0]
        if seen["fails"]:
            seen["fails"] -= 1
            raise HostError("gate", "check healthz: got status 500")
        return {"passed": True}

    monkeypatch.setattr(restore.data_users, "stop", lambda *a: seen["calls"].append("stop"))
    monkeypatch.setattr(restore.data_users, "serve", serve)
    monkeypatch.setattr(restore, "backup", lambda *a: {"id": "5afe5afe"})
    seen["source"] = source
    seen["view"] = {"id": "12345678", "time": "t", "release_now": RELEASE}
    yield seen


def test_restore_swaps_the_database(stack: Stack, swap: dict[str, Any]) -> None:
    answer = restore._perform(stack, swap["source"], swap["view"], {"who": "me"})
    assert swap["rows"] == 1
    assert answer["safety"] == "5afe5afe"
    assert answer["kept"] is None
    assert [p.name for p in stack.live_data_dir.iterdir() if "before" in p.name] == []


def test_restore_puts_the_previous_database_back(stack: Stack, swap: dict[str, Any]) -> None:
    swap["fails"] = 1
    with pytest.raises(HostError, match="previous database serves") as caught:
        restore._perform(stack, swap["source"], swap["view"], {})
    assert caught.value.kind == "gate"
    assert swap["rows"] == 3
    swap["fails"] = 2
    with pytest.raises(HostError, match="does not serve") as caught:
        restore._perform(stack, swap["source"], swap["view"], {})
    assert caught.value.kind == "broken"
    assert swap["rows"] == 3


def test_restore_survives_a_full_disk(
    stack: Stack, swap: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(restore.disk, "copy_new", full)
    with pytest.raises(HostError, match="No space left"):
        restore._perform(stack, swap["source"], swap["view"], {})
    assert swap["rows"] == 3


def test_listeners_are_found_with_their_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (found,) = [item for item in processes.listeners() if item.port == port]
    assert (found.proto, found.address, found.loopback) == ("tcp", "127.0.0.1", True)
    assert found.process is not None
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]
        assert [i.address for i in processes.listeners() if i.port == port] == ["::1"]
    assert processes.process(2**22 + 1) is None


def test_preflight_names_the_holder_of_a_port(stack: Stack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        answer = preflight.preflight(stack, {"needs": {"ports": [port, f"{port}/tcp"]}})
    bad = [item for item in answer["items"] if item["name"] == f"port {port}"]
    assert [item["ok"] for item in bad] == [False, False]
    assert "pid" in bad[0]["measured"]
    assert not answer["passed"]
    assert preflight.preflight(stack, {})["items"]


def test_preflight_knows_a_work_tree_from_a_folder(tmp_path: Path) -> None:
    ask = preflight_paths.repository
    assert not ask(tmp_path / "none", create=False)[0]
    assert ask(tmp_path / "none", create=True)[0]
    folder = tmp_path / "folder"
    folder.mkdir()
    assert ask(folder, create=True)[0]
    (folder / "file").write_text("x")
    assert not ask(folder, create=True)[0]
    subprocess.run(["git", "init", "-q", str(tmp_path / "repo")], check=True)
    assert ask(tmp_path / "repo", create=False)[0]
    inner = tmp_path / "repo" / "inner"
    inner.mkdir()
    assert "inside the work tree" in ask(inner, create=False)[1]


ENV = {"STACKPIN_RELEASE": RELEASE, "APP_TOKEN": "geheim"}


def codes(stack: Stack, process: processes.Process | None, **unit: Any) -> list[str]:
    state: dict[str, Any] = {
        "name": "crm@blue.service", "active": "active", "sub": "running", "main_pid": 1,
        "restarts": 0, "dropins": [], "fragment": "x", "fragment_ok": True, "reload_needed": False,
    }  # fmt: skip
    units = {"blue": findings.UnitState(**{**state, **unit})}
    running = {} if process is None else {"blue": process}
    found = findings.look(findings.Reading(stack, "blue", units, running, []))
    return sorted(item.code for item in found if item.code != "mode-wrong")


def test_findings_of_a_running_binary(stack: Stack, tmp_path: Path) -> None:
    server = stack.release_dir(RELEASE) / "server"
    sleep = shutil.which("sleep")
    assert sleep is not None
    shutil.copy(sleep, server)
    about = stack.release_dir(RELEASE) / "release.json"
    about.write_text(
        json.dumps({"artifact_sha256": hashlib.sha256(server.read_bytes()).hexdigest()})
    )
    running = subprocess.Popen([str(server), "60"], env=ENV)
    try:
        while processes.process(running.pid) is None or "sleep" in str(
            processes.process(running.pid).exe  # type: ignore[union-attr]
        ):
            pass
        assert codes(stack, processes.process(running.pid)) == []
        # Another binary of the same release name: what runs is not what is installed.
        new = tmp_path / "new"
        new.write_bytes(server.read_bytes() + b"\0")
        new.rename(server)
        about.write_text(
            json.dumps({"artifact_sha256": hashlib.sha256(server.read_bytes()).hexdigest()})
        )
        assert codes(stack, processes.process(running.pid)) == [
            "exe-deleted",
            "running-not-installed",
        ]
    finally:
        running.kill()
        running.wait()


def test_findings_of_units_and_processes(stack: Stack) -> None:
    good = processes.Process(1, "/x", False, ["x"], ENV, None)
    other = processes.Process(1, "/x", False, ["x"], {"STACKPIN_RELEASE": "v9"}, None)
    assert codes(stack, good) == []
    assert codes(stack, other) == ["running-not-installed"]
    assert codes(stack, good, dropins=["/usr/lib/systemd/system/service.d/a.conf"]) == []
    assert codes(stack, good, dropins=["/etc/a.conf"]) == ["unit-override"]
    assert codes(stack, good, fragment_ok=False) == ["unit-override"]
    assert codes(stack, None, active="failed") == ["slot-not-running"]


def test_nginx_is_tried_on_a_copy(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    home = stack.at("/etc/nginx")
    (home / "sites-enabled").mkdir(parents=True)
    (home / "nginx.conf").write_text(
        "pid /run/nginx.pid;\ninclude /etc/nginx/sites-enabled/*;\n# my/etc/nginx/x\n"
    )
    (home / "sites-enabled" / "a").symlink_to("/etc/nginx/sites-available/a")
    seen: dict[str, str] = {}

    def run(argv: list[str], **_more: object) -> system.Result:
        if argv[:2] != ["nginx", "-t"] or "-c" not in argv:
            return system.Result(0, "", "")
        conf = Path(argv[-1])
        seen["conf"] = conf.read_text()
        seen["link"] = str((conf.parent / "sites-enabled" / "a").readlink())
        seen["new"] = (conf.parent / "new.conf").read_text()
        text = f"nginx: [emerg] bad thing in {conf.parent}/new.conf:7\n"
        return system.Result(1, "", text) if "BAD" in seen["new"] else system.Result(0, "", "ok")

    monkeypatch.setattr(nginx.system, "run", run)
    good = {"files": {"/etc/nginx/new.conf": "include /etc/nginx/x;\n"}}
    assert nginx.nginx_test(stack, good)["would_change"] == ["/etc/nginx/new.conf"]
    stage = seen["link"].removesuffix("/sites-available/a")
    assert f"include {stage}/sites-enabled/*;" in seen["conf"]
    assert "/run/nginx.pid" not in seen["conf"]
    assert "# my/etc/nginx/x" in seen["conf"]
    assert seen["new"] == f"include {stage}/x;\n"
    assert not Path(stage).exists()
    assert nginx.nginx_apply(stack, good)["changed"] == ["/etc/nginx/new.conf"]
    with pytest.raises(HostError, match=r"bad thing in /etc/nginx/new\.conf:7") as caught:
        nginx.nginx_apply(stack, {"files": {"/etc/nginx/new.conf": "BAD"}})
    assert caught.value.detail["line"] == 7
    assert (home / "new.conf").read_text() == "include /etc/nginx/x;\n"
