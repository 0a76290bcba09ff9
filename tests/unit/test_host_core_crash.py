"""The host program killed before each single step it takes, and what is true afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stackpin.host import journal, pointer, runs
from stackpin.host.stack import Stack
from tests.unit.host_core_fakes import SHARED, Host, outcome

MOST_STEPS = 400
# First step and stride: every step once, the ways back that differ least share them.
STRIDES = {"recover": (1, 1), "guard": (1, 3), "boot": (2, 3), "rollout": (3, 3)}


@pytest.fixture
def host(memory_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(memory_path / "host", monkeypatch)


def ready(host: Host, **settings: Any) -> None:
    """Serve the old release; have the new one."""
    host.install(**settings)
    host.receive("old")
    host.call("rollout", release="old")
    host.receive("new")


def judged(host: Host) -> None:
    """Nothing is open and what serves is what the journal says was proven."""
    stack = Stack.load("crm")
    run = runs.load(stack)
    assert run is not None and runs.ended(run), run
    assert runs.load_pending(stack) is None
    for token in host.timers.values():  # one that outlived its guard has nothing to do
        assert host.call("guard", token=token)["acted"] is False
    live = pointer.live_release(stack)
    confirmed = [row["release"] for row in journal.read(stack) if row["event"] == "confirmed"]
    assert live == confirmed[-1] and host.serving() == live
    assert len(host.active) == 1
    events = [row["event"] for row in journal.read(stack) if row["run"] == "second"]
    ends = [event for event in events if event in ("confirmed", "reverted", "failed")]
    assert len(ends) <= 1
    if live == "new" and run["run"] == "second":
        assert ends == ["confirmed"] and run["stage"] == "retired"
    assert not list(host.root.glob("var/lib/crm/rehearsal/*"))
    assert not list(host.root.glob("run/systemd/system/*"))


@pytest.mark.parametrize("how", ["recover", "guard", "boot", "rollout"])
def test_killed_before_each_step(how: str, host: Host) -> None:
    ready(host)
    film = host.filmed("rollout", release="new", run="second")
    assert 40 < len(film) < MOST_STEPS
    first, stride = STRIDES[how]
    for step in range(first, len(film), stride):
        host.return_to(film[step - 1])
        # Before anybody did anything: served, and the unproven only under guard.
        run = runs.load(Stack.load("crm")) or {}
        assert host.serving() in ("old", "new"), step
        if host.serving() == "new" and run.get("stage") not in ("confirmed", "retired"):
            assert host.guarded(), step
        come_back(host, how)
        judged(host)
        come_back(host, how)
        judged(host)


def come_back(host: Host, how: str) -> None:
    if how == "guard":
        pending = runs.load_pending(Stack.load("crm"))
        host.ahead += 1000
        if pending is not None:
            host.call("guard", token=pending["token"])
            assert runs.load_pending(Stack.load("crm")) is None
        host.call("recover")
    elif how == "boot":
        host.restart()
        host.call("boot")
        host.call("recover")
    elif how == "rollout":
        host.call("rollout", release="new", run="third")
    else:
        host.call("recover")


@pytest.mark.parametrize("how", ["recover", "boot"])
def test_killed_while_taking_back(how: str, host: Host) -> None:
    """The revert itself is killed before each of its steps, then done again by another one."""
    ready(host)
    host.call("begin", run="second", release="new", mode="self", rehearse=False)
    for stage in ("rehearse", "start", "gate", "switch"):
        host.call(stage, run="second")
    film = host.filmed("abort", run="second", reason="test")
    assert 5 < len(film) < 30
    for moment in film:
        host.return_to(moment)
        assert host.serving() in ("old", "new")
        come_back(host, how)
        judged(host)
        assert outcome("second") == "reverted"


@pytest.mark.parametrize("how", ["recover", "boot"])
def test_killed_first_install_leaves_nothing_running(how: str, host: Host) -> None:
    host.install()
    host.receive("new")
    film = host.filmed("rollout", release="new", run="first")
    assert 30 < len(film) < MOST_STEPS
    first, stride = STRIDES[how]
    for step in (*range(first, len(film), stride), len(film)):
        host.return_to(film[step - 1])
        come_back(host, how)
        stack = Stack.load("crm")
        run = runs.load(stack)
        if run is None or run["stage"] != "retired":
            assert pointer.live_release(stack) is None and not host.active
            assert runs.load_pending(stack) is None
            host.call("rollout", release="new", run="again")
        assert pointer.live_release(stack) == "new" == host.serving()


@pytest.mark.parametrize("how", ["recover", "guard", "boot"])
def test_one_at_a_time_stack_is_guarded_from_the_stop_on(how: str, host: Host) -> None:
    ready(host, overlap=False, rehearsal=False, ports=SHARED)
    film = host.filmed("rollout", release="new", run="second")
    assert 30 < len(film) < MOST_STEPS
    first, stride = STRIDES[how]
    for step in (*range(first, len(film), stride), len(film)):
        host.return_to(film[step - 1])
        run = runs.load(Stack.load("crm")) or {}
        if step < len(film) and run.get("stage") != "confirmed" and host.active != {"blue"}:
            assert host.guarded() or runs.ended(run), step
        assert len(host.active) <= 1
        come_back(host, how)
        judged(host)
