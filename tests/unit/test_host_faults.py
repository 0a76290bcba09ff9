"""The host program on a full disk, after a reboot, and with what the service plants for it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stackpin.host import journal, runs
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
