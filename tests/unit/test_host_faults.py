"""The host program on a full disk, after a reboot, and with what the service plants for it."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stackpin.host import journal, preflight, preflight_resources, room, runs, snapshot
from stackpin.host.errors import HostError
from stackpin.host.stack import Stack
from tests.unit.host_core_fakes import Host, outcome

CONFIRMED = ("rehearse", "start", "gate", "switch", "probe")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def begin(host: Host, **settings: Any) -> None:
    """Serve `old` and begin a run that goes to `new`."""
    host.install(**settings)
    host.receive("old")
    host.call("rollout", release="old")
    host.receive("new")
    host.call("begin", run="second", release="new", mode="self")


@contextmanager
def full_disk() -> Iterator[None]:
    """No new file and no new line."""
    real = os.open

    def opened(path: Any, flags: int, *args: Any, **more: Any) -> int:
        if flags & os.O_CREAT and flags & (os.O_EXCL | os.O_APPEND):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return real(path, flags, *args, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", opened)
        yield


@pytest.mark.parametrize(("stage", "serves"), [("switched", "old"), ("confirmed", "new")])
def test_boot_serves_on_a_full_disk(host: Host, stage: str, serves: str) -> None:
    begin(host)
    for command in CONFIRMED[: 4 if stage == "switched" else 5]:
        answer = host.call(command, run="second")
    if stage == "confirmed":
        token = host.call("switch", run="second")["token"]
        host.call("confirm", run="second", token=token)
    assert answer
    host.restart()
    with full_disk():
        for _ in range(2):
            with pytest.raises(HostError, match="No space left") as failed:
                host.call("boot")
            assert failed.value.exit_code == 1
            assert host.serving() == serves
    assert host.call("boot")["recovered"]["recovered"]
    assert host.serving() == serves and len(host.active) == 1
    assert runs.ended(runs.load(Stack.load("crm")))
    assert outcome("second") == ("reverted" if stage == "switched" else "confirmed")


def test_guard_starts_the_old_release_of_a_one_at_a_time_stack_on_a_full_disk(host: Host) -> None:
    begin(host, overlap=False)
    for command in ("rehearse", "start"):
        host.call(command, run="second")
    assert host.active == {"green"}
    token = (runs.load_pending(Stack.load("crm")) or {})["token"]
    host.ahead = 10000
    with full_disk(), pytest.raises(OSError, match="No space left"):
        host.call("guard", token=token)
    assert host.active == {"blue"} and host.serving() == "old"
    assert host.call("guard", token=token)["stage"] == "failed"
    assert host.active == {"blue"}


def test_the_old_release_is_started_even_when_the_slot_file_cannot_be_made(host: Host) -> None:
    begin(host)
    host.call("abort", run="second", reason="test")
    host.call("rollout", release="new", run="third")  # live is green now
    host.receive("newer")
    host.call("begin", run="fourth", release="newer", mode="self")
    for command in ("rehearse", "start", "gate", "switch"):
        host.call(command, run="fourth")
    host.restart()
    with full_disk(), pytest.raises(HostError, match="No space left"):
        host.call("boot")
    assert "green" in host.active
    host.call("boot")
    assert host.serving() == "new" and host.active == {"green"}
    events = [row["event"] for row in journal.read(Stack.load("crm")) if row["run"] == "fourth"]
    assert events[-1] == "reverted"


def little_room(patch: pytest.MonkeyPatch, free: int) -> None:
    real = os.statvfs

    class Found:
        f_frsize = 1
        f_bavail = free

    assert real("/")
    patch.setattr("stackpin.host.room.os.statvfs", lambda _path: Found)


def test_no_copy_of_the_database_without_room_for_it(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begin(host)
    stack = Stack.load("crm")
    database = stack.at(str(stack.database))
    wal = database.with_name("crm.db-wal")
    wal.write_bytes(b"\0" * 4096)
    need = database.stat().st_size + 4096 + room.RESERVE
    staging = tmp_path / "staging"
    staging.mkdir()
    with monkeypatch.context() as patch:
        little_room(patch, need - 1)
        with pytest.raises(HostError, match=r"MiB free, .* needed for a rehearsal's copy") as none:
            host.call("rehearse", run="second")
        assert none.value.kind == "refused"
        with pytest.raises(HostError, match="needed for a backup's copy"):
            snapshot.build(stack, staging, reason="test", release=None)
        assert not list(staging.iterdir()) and not list(stack.rehearsal_dir.iterdir())
        little_room(patch, need)
        snapshot.build(stack, staging, reason="test", release=None)
    host.call("rehearse", run="second")


def test_preflight_counts_the_database_twice(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = host.install()
    monkeypatch.setattr(preflight_resources, "free", lambda _path: (250, None))

    def disk() -> bool:
        needs = {"disk_mb": 100, "paths": [str(host.root)], "database": stack.database}
        items = preflight.preflight(stack, {"needs": needs})["items"]
        return all(item["ok"] for item in items if item["name"].startswith("disk"))

    assert disk()
    with stack.at(str(stack.database)).with_name("crm.db-wal").open("wb") as file:
        file.truncate(100 * 2**20)
    assert not disk()


def test_lease_by_the_time_since_start(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.install()
    now = 1_000_000.0
    monkeypatch.setattr("stackpin.host.lock.time.time", lambda: now)
    token = host.call("lock-acquire", owner="a", reason="x", ttl=60)["token"]
    host.ahead = 10
    for jump in (-86400.0, 0.0, 86400.0):
        now = 1_000_000.0 + jump
        lease = host.call("lock-show")["lock"]
        assert (lease["age"], lease["left"]) == (10, 50)
    host.ahead = 61
    now = 1_000_000.0
    assert host.call("lock-show")["lock"] is None
    assert host.call("lock-renew", token=token)["lock"]["age"] == 61
    host.restart()
    now = 1_000_030.0
    assert host.call("lock-show")["lock"]["left"] == 30  # renewed at 1_000_000
    now = 1_000_061.0
    assert host.call("lock-show")["lock"] is None
    now = 999_000.0  # set back at the restart: not a lease of seventeen minutes
    assert host.call("lock-show")["lock"] is None


def test_a_lease_is_given_back_without_making_the_stack_again(host: Host) -> None:
    stack = host.install()
    token = host.call("lock-acquire", owner="a", reason="uninstall", ttl=60)["token"]
    shutil.rmtree(stack.state_dir)
    assert host.call("lock-release", token=token) == {"released": False, "lock": None}
    with pytest.raises(HostError, match="the lease is gone"):
        host.call("lock-renew", token=token)
    assert not stack.state_dir.exists()


def test_a_restart_does_not_tell_the_guards_token(host: Host) -> None:
    host.install()
    host.receive("old")
    host.call("rollout", release="old")
    told = host.call("service", action="restart")
    assert "token" not in json.dumps(told) and told["rollout"]["stages"]["switch"]["slot"]
