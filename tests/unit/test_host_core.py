"""Stages, lease, journal, releases, files and pruning of the host program, without a host."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from stackpin.engine.bundle import host_program
from stackpin.host import disk, journal, main, mutex, pruning, slots, static, units
from stackpin.host.errors import HostError
from stackpin.host.stack import Stack
from tests.unit.host_core_fakes import SHARED, Host, outcome


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


@pytest.fixture
def ready(host: Host) -> Host:
    """A host that serves `old` and has `new`."""
    host.install()
    host.receive("old")
    host.call("rollout", release="old", who="me")
    host.receive("new")
    return host


def operator(host: Host, run: str = "r1", release: str = "new") -> str:
    token = str(host.call("lock-acquire", owner="me@desk", reason="update", ttl=60)["token"])
    host.call("begin", run=run, release=release, lock_token=token, who="me")
    return token


def test_without_stack_only_bare_commands_work(host: Host) -> None:
    told = host.call("state")
    assert told.pop("machine")["cpus"]
    assert told == {"installed": False, "lock": None, "nginx_reload_pending": False}
    with pytest.raises(HostError, match="not installed") as refused:
        host.call("begin")
    assert refused.value.exit_code == 3
    with pytest.raises(HostError, match="unknown command"):
        host.call("explode")
    with pytest.raises(HostError, match="expected a name"):
        host.call("state", "../etc")


def test_state_tells_what_serves_and_hides_tokens(ready: Host) -> None:
    token = operator(ready)
    for stage in ("rehearse", "start", "gate", "switch"):
        ready.call(stage, run="r1", lock_token=token)
    state = ready.call("state")
    assert (state["live_slot"], state["live_release"]) == ("green", "new")
    assert state["slots"]["blue"]["release"] == "old" and state["slots"]["blue"]["active"]
    assert state["pending"]["run"] == "r1" and state["last_good"] == "old"
    assert token not in json.dumps(state)
    assert "token" not in state["pending"]


def test_stage_out_of_order_is_refused(ready: Host) -> None:
    token = operator(ready)
    for stage in ("start", "gate", "switch", "probe", "confirm", "retire"):
        with pytest.raises(HostError, match="out of order") as refused:
            ready.call(stage, run="r1", lock_token=token)
        assert refused.value.kind == "refused"
    with pytest.raises(HostError, match="not the current one"):
        ready.call("rehearse", run="other", lock_token=token)


def test_stages_may_be_repeated(ready: Host) -> None:
    token = operator(ready)
    for stage in ("rehearse", "start", "gate", "switch", "probe"):
        ready.call(stage, run="r1", lock_token=token)
        assert ready.call(stage, run="r1", lock_token=token)["already"]
    secret = ready.call("switch", run="r1", lock_token=token)["token"]
    with pytest.raises(HostError, match="token is not the one"):
        ready.call("confirm", run="r1", token="x", lock_token=token)
    ready.call("confirm", run="r1", token=secret, lock_token=token)
    assert ready.call("confirm", run="r1", token=secret, lock_token=token)["already"]
    ready.call("retire", run="r1", lock_token=token)
    assert ready.call("retire", run="r1", lock_token=token)["already"]
    events = [row["event"] for row in journal.read(Stack.load("crm")) if row["run"] == "r1"]
    assert events == [
        "begin", "rehearsed", "started", "gated", "switched", "confirmed", "retired",
    ]  # fmt: skip
    assert not ready.timers and ready.active == {"green"}


def test_guard_and_confirmation_have_one_winner(ready: Host) -> None:
    token = operator(ready)
    for stage in ("rehearse", "start", "gate", "switch", "probe"):
        ready.call(stage, run="r1", lock_token=token)
    secret = ready.call("switch", run="r1", lock_token=token)["token"]
    with pytest.raises(HostError, match="not due"):
        ready.call("guard", token=secret)
    ready.ahead = 89.9
    with pytest.raises(HostError, match="after the guard's deadline") as late:
        ready.call("confirm", run="r1", token=secret, lock_token=token)
    assert late.value.kind == "gate"
    told = ready.call("guard", token=secret)
    assert (told["acted"], told["serving"], told["proven"]) == (True, "old", True)
    with pytest.raises(HostError, match="guard: not confirmed by deadline") as lost:
        ready.call("confirm", run="r1", token=secret, lock_token=token)
    assert lost.value.kind == "gate"
    assert outcome("r1") == "reverted" and ready.active == {"blue"}
    assert ready.call("guard", token=secret)["acted"] is False


def test_late_guard_leaves_a_confirmed_run_alone(ready: Host) -> None:
    token = operator(ready)
    for stage in ("rehearse", "start", "gate", "switch", "probe"):
        ready.call(stage, run="r1", lock_token=token)
    secret = ready.call("switch", run="r1", lock_token=token)["token"]
    ready.call("confirm", run="r1", token=secret, lock_token=token)
    ready.ahead = 1000
    assert ready.call("guard", token=secret)["acted"] is False
    with pytest.raises(HostError, match="roll back instead"):
        ready.call("abort", run="r1", lock_token=token)
    assert ready.serving() == "new"


def test_confirmation_needs_the_switch_to_hold(ready: Host) -> None:
    token = operator(ready)
    for stage in ("rehearse", "start", "gate", "switch", "probe"):
        ready.call(stage, run="r1", lock_token=token)
    secret = ready.call("switch", run="r1", lock_token=token)["token"]
    Stack.load("crm").slot_file.unlink()
    with pytest.raises(HostError, match="switched by hand"):
        ready.call("confirm", run="r1", token=secret, lock_token=token)


def test_sick_release_goes_back_with_exit_4(ready: Host) -> None:
    ready.sick.add("new")
    with pytest.raises(HostError, match="old serves and is healthy") as failed:
        ready.call("rollout", release="new")
    assert failed.value.exit_code == 4 and failed.value.detail["proven"]
    assert failed.value.detail["stage"] == "rehearse"
    assert ready.active == {"blue"}


def test_unproven_old_release_is_exit_5(ready: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stackpin.host.undo.PROOF_SECONDS", 0)
    ready.sick.update({"new", "old"})
    with pytest.raises(HostError, match="could not be proven") as failed:
        ready.call("rollout", release="new")
    assert failed.value.exit_code == 5


def test_dead_old_slot_leaves_the_new_one_serving(ready: Host) -> None:
    token = operator(ready)
    for stage in ("rehearse", "start", "gate", "switch"):
        ready.call(stage, run="r1", lock_token=token)
    ready.active.discard("blue")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(units, "start", lambda *_: None)
        told = ready.call("abort", run="r1", reason="test", lock_token=token)
    assert told["stage"] == "broken" and not told["proven"]
    assert ready.active == {"green"}
    ready.call("begin", run="r2", release="new", lock_token=token)


def test_slots_that_share_a_port_take_turns(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other slot of ours may hold the port; nobody else may, also not after it stopped."""
    host.install(overlap=False, ports=SHARED, drain_seconds=60)
    monkeypatch.setattr(slots, "established", lambda _: 3)  # of the new one, on the same port
    host.foreign.add(9090)
    host.receive("old")
    with pytest.raises(HostError, match="port 9090: taken by"):
        host.call("rollout", release="old")
    host.foreign.clear()
    assert host.call("rollout", release="old")["slot"] == "blue"
    host.receive("new")
    done = host.call("rollout", release="new")
    assert done["slot"] == "green" and host.active == {"green"}
    assert done["stages"]["start"]["gap"] is not None
    assert done["stages"]["retire"]["left"] == 0
    assert host.call("rollout", release="old")["slot"] == "blue"

    def snatch(stack: Stack, *stopped: str) -> None:
        stop(stack, *stopped)
        if "blue" in stopped:
            host.foreign.add(9090)

    stop = units.stop
    monkeypatch.setattr(units, "stop", snatch)
    monkeypatch.setattr("stackpin.host.undo.PROOF_SECONDS", 0)
    with pytest.raises(HostError, match="port 9090: taken by"):
        host.call("rollout", release="new")
    host.foreign.clear()
    monkeypatch.setattr(units, "stop", stop)
    host.call("boot")
    assert host.active == {"blue"} and host.serving() == "old"


def test_second_run_is_refused_while_the_first_lives(ready: Host) -> None:
    token = operator(ready)
    with pytest.raises(HostError, match="locked by me@desk"):
        ready.call("rollout", release="new")
    with pytest.raises(HostError, match="open"):
        ready.call("begin", run="r2", release="new", lock_token=token, who="me")
    told = ready.call("lock-steal", owner="you", reason="they left", ttl=60)
    assert told["stolen_from"]["owner"] == "me@desk"
    begun = ready.call("begin", run="r2", release="new", lock_token=told["token"])
    assert begun["recovered"]["why"] == "operator vanished"
    assert outcome("r1") == "failed"
    with pytest.raises(HostError, match="locked by you"):
        ready.call("rehearse", run="r1", lock_token=token)


def test_overtaken_stage_stops_at_its_next_change(ready: Host) -> None:
    token = operator(ready)
    ready.call("rehearse", run="r1", lock_token=token)
    ready.call("start", run="r1", lock_token=token)

    def abort(*_: Any, **__: Any) -> list[dict[str, Any]]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("stackpin.host.waiting.run_checks", ready.check)
            ready.call("abort", run="r1", reason="another says stop", lock_token=token)
        return ready.check(*_, **__)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stackpin.host.waiting.run_checks", abort)
        with pytest.raises(HostError, match=r"another says stop|process is gone"):
            ready.call("gate", run="r1", lock_token=token)
    assert ready.serving() == "old" and ready.active == {"blue"}


def test_operator_needs_a_lease_and_a_complete_release(ready: Host) -> None:
    with pytest.raises(HostError, match="needs the lease"):
        ready.call("begin", run="r1", release="new")
    with pytest.raises(HostError, match="not complete"):
        ready.call("begin", run="r1", release="newer", mode="self")


def test_lease(host: Host) -> None:
    first = host.call("lock-acquire", owner="a", reason="x", ttl=60)
    token = first["token"]
    with pytest.raises(HostError) as held:
        host.call("lock-acquire", owner="b", reason="y", ttl=60)
    assert held.value.detail["owner"] == "a" and held.value.exit_code == 3
    assert "token" not in held.value.detail
    host.ahead = 50
    assert host.call("lock-renew", token=token)["lock"]["left"] == 60
    with pytest.raises(HostError, match="locked by a for 50 s"):
        host.call("lock-renew", token="wrong")
    assert host.call("lock-release", token="wrong")["released"] is False
    host.ahead = 111
    assert host.call("lock-show")["lock"] is None
    assert host.call("lock-renew", token=token)["lock"]["owner"] == "a"
    host.ahead = 300
    assert host.call("lock-acquire", owner="b", reason="y", ttl=5)["lock"]["owner"] == "b"
    with pytest.raises(HostError, match="locked by b"):
        host.call("lock-renew", token=token)
    with pytest.raises(HostError, match="ttl"):
        host.call("lock-steal", owner="c", ttl=1e9)


def test_last_good_walks_back(host: Host) -> None:
    stack = host.install()
    for release in ("a", "b", "c"):
        host.receive(release)
        journal.append(stack, "confirmed", release, release=release, command="deploy")
    assert journal.last_good(stack, "c") == "b"
    journal.append(stack, "confirmed", "r", release="b", command="rollback")
    assert journal.last_good(stack, "b") == "a"
    journal.append(stack, "confirmed", "r", release="b", command="restart")
    assert journal.last_good(stack, "b") == "a"
    assert journal.last_good(stack, "a") is None


def test_torn_journal_line_is_passed_over(host: Host) -> None:
    stack = host.install()
    journal.append(stack, "begin", "r1")
    with stack.journal_file.open("ab") as file:
        file.write(b'{"t": "2026')
    journal.append(stack, "failed", "r1")
    assert [row["event"] for row in journal.read(stack)] == ["begin", "failed"]


def test_receive_is_idempotent_and_repairs(ready: Host) -> None:
    stack = Stack.load("crm")
    folder = stack.release_dir("new")
    modes = {p.name: f"{p.stat().st_mode & 0o777:o}" for p in folder.iterdir()}
    described = {"release.json": "644", "sums.json": "600"}
    assert modes == {"server": "755", "env": "600", "unit": "644", **described}
    assert 'STACKPIN_RELEASE="new"' in (folder / "env").read_text()
    (folder / "server").write_bytes(b"altered")
    ready.receive("new")
    assert (folder / "server").read_bytes() == b"program of new"
    about = {"id": "x", "version": "v1", "artifact_sha256": "0" * 64}
    with pytest.raises(HostError, match="upload it first") as absent:
        ready.call("receive", release=about, env="", unit="u")
    assert absent.value.detail["needs_artifact"] == "0" * 64
    with pytest.raises(HostError, match="expected an id"):
        ready.call("receive", release={**about, "id": "../x"}, env="", unit="u")


def test_prune_keeps_what_is_needed(ready: Host) -> None:
    for number in range(6):
        ready.receive(f"r{number}")
        time.sleep(0.002)
    told = ready.call("prune", keep=2, pinned=["r0"], dry=True)
    assert set(told["removed"]) == {"new", "r1", "r2", "r3"}
    assert ready.call("prune", keep=2, pinned=["r0"])["removed"] == told["removed"]
    kept = {item["id"]: item["why"] for item in told["kept"]}
    assert kept["old"] == "live" and kept["r0"] == "pinned"
    assert sorted(p.name for p in Stack.load("crm").releases_dir.iterdir()) == sorted(kept)
    assert pruning.prune(Stack.load("crm"), keep=1)["removed"]


def test_write(host: Host) -> None:
    def file(path: str, text: bytes, mode: str = "0600") -> dict[str, str]:
        content = base64.b64encode(text).decode()
        owner = {"user": "root", "group": "root"}
        return {"path": path, "mode": mode, "content_b64": content, **owner}

    request = {
        "directories": [{"path": "/etc/a", "mode": "0711", "user": "root", "group": "root"}],
        "files": [file("/etc/a/secret", b"\0\xff")],
        "links": [{"path": "/etc/a/link", "target": "secret"}],
        "absent": ["/etc/gone"],
    }
    (host.root / "etc").mkdir()
    (host.root / "etc/gone").write_text("x")
    changed = host.call("write", **request)["changed"]
    assert [item["what"] for item in changed] == ["created", "created", "created", "removed"]
    assert host.call("write", **request)["changed"] == []
    path = host.root / "etc/a/secret"
    assert path.read_bytes() == b"\0\xff" and path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    assert host.call("write", **request)["changed"][0]["what"] == "mode"
    for bad in (
        {"files": [file("etc/x", b"")]},
        {"files": [file("/etc/../x", b"")]},
        {"files": [{**file("/etc/x", b""), "user": "nobody-at-all"}]},
        {"files": [{**file("/etc/x", b""), "content_b64": "*"}]},
        {"files": [{**file("/etc/x", b""), "mode": "rw"}]},
        {"absent": ["/etc"]},
        {"links": [{"path": "/etc/a/secret", "target": "x"}]},
    ):
        with pytest.raises(HostError) as refused:
            host.call("write", **bad)
        assert refused.value.exit_code == 3


def test_static_archive_cannot_leave_its_release(tmp_path: Path) -> None:
    for name, kind in (("../x", tarfile.REGTYPE), ("/x", tarfile.REGTYPE), ("x", tarfile.SYMTYPE)):
        archive = tmp_path / "a.tar"
        with tarfile.open(archive, "w") as tar:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            tar.addfile(entry, io.BytesIO())
        with pytest.raises(HostError, match="archive entry"):
            static.unpack(archive, tmp_path / f"out-{hash(name + str(kind))}")


def test_maintenance_and_service(ready: Host) -> None:
    assert ready.call("maintenance", on=True, reason="move")["changed"]
    assert ready.call("state")["maintenance"] is True
    assert ready.call("maintenance", on=True)["changed"] is False
    assert ready.call("maintenance", on=False)["changed"]
    told = ready.call("service", action="restart")
    assert told["slot"] == "green" and ready.active == {"green"}
    ready.call("service", action="stop")
    assert not ready.active and ready.call("state")["live_slot"] == "green"
    assert ready.call("service", action="start")["changed"]
    assert ready.active == {"green"}
    with pytest.raises(HostError, match="expected start"):
        ready.call("service", action="explode")


def test_mutex_gives_up_naming_the_holder(host: Host) -> None:
    stack = host.install()
    with (
        mutex.mutex(stack),
        pytest.raises(HostError, match="by process"),
        mutex.mutex(stack, timeout=0.1),
    ):
        pass


def test_atomic_write_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "f"
    disk.atomic_write(path, b"one", 0o640)
    (tmp_path / ".f.stackpin-tmp").write_text("left by a killed program")
    disk.atomic_write(path, b"two", 0o600)
    assert path.read_bytes() == b"two" and path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_program_is_deterministic_and_runs(tmp_path: Path) -> None:
    content, sha256 = host_program()
    host_program.cache_clear()
    assert host_program() == (content, sha256)
    names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    assert "stackpin/host/main.py" in names and not [n for n in names if "pydantic" in n]
    path = tmp_path / "host.pyz"
    path.write_bytes(content)
    argv = [sys.executable, "-I", "-S", str(path), "state", "crm"]
    done = subprocess.run(
        argv,
        input=b"",
        capture_output=True,
        env={"STACKPIN_ROOT": str(tmp_path)},
        check=True,
    )
    answer = json.loads(done.stdout)
    assert answer["ok"] and answer["installed"] is False and answer["lock"] is None
    bad = subprocess.run(
        argv, input=b"[", capture_output=True, env={"STACKPIN_ROOT": str(tmp_path)}, check=False
    )
    assert bad.returncode == 3 and json.loads(bad.stdout)["error"]["kind"] == "refused"


def test_every_command_is_where_the_table_says() -> None:
    for name, command in main.COMMANDS.items():
        module = __import__(f"stackpin.host.{command.module}", fromlist=["COMMANDS"])
        assert callable(module.COMMANDS[name]), name
