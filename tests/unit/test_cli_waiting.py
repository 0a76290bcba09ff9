"""Hosts that are waited for are counted and named, on a terminal only."""

import sys

import gevent
import pytest

from stackpin.cli import waiting
from stackpin.cli.waiting import Waiting, hosts_shown
from stackpin.engine import session
from stackpin.engine.waiting import queued, told, waited_for


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(waiting.time, "monotonic", lambda: now[0])
    return now


def test_hosts_are_counted_and_slow_ones_named_longest_first(clock):
    shown = Waiting()
    for number in range(10):
        shown._hosts[f"h{number}"] = ("queued", clock[0])
    for number in range(8):
        shown._hosts[f"h{number}"] = ("waiting", clock[0] + number)
    assert shown.text() == "0 of 10 hosts answered"
    clock[0] += 20
    assert shown.text() == (
        "0 of 10 hosts answered; waiting for h0 (20 s), h1 (19 s), h2 (18 s), h3 (17 s), h4 (16 s)"
        " and 3 more"
    )
    for number in range(7):
        shown._hosts[f"h{number}"] = ("done", clock[0])
    assert shown.text() == "7 of 10 hosts answered; waiting for h7 (13 s)"


def test_a_host_is_done_when_it_failed_too():
    heard = []
    with told(lambda host, state: heard.append((host, state))):
        queued(["a"])
        with pytest.raises(ValueError, match="gone"), waited_for("a"):
            raise ValueError("gone")
    queued(["b"])
    assert heard == [("a", "queued"), ("a", "waiting"), ("a", "done")]


def test_a_slow_host_holds_nobody_back_and_is_waited_for_alone():
    heard = []
    made = session.Session.__new__(session.Session)
    with told(lambda host, state: heard.append((host, state))):
        got = made.map(lambda host: gevent.sleep(0.2 if host == "slow" else 0), ["slow", "a", "b"])
    assert list(got.values) == ["slow", "a", "b"]
    assert heard[:3] == [("slow", "queued"), ("a", "queued"), ("b", "queued")]
    assert heard[-1] == ("slow", "done")


@pytest.mark.parametrize(("terminal", "as_json"), [(True, False), (True, True), (False, False)])
def test_only_a_person_at_a_terminal_sees_it(terminal, as_json, capfd, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    with hosts_shown(as_json=as_json), waited_for("a"), waited_for("b"):
        pass
    out, err = capfd.readouterr()
    assert out == ""
    assert ("of 2 hosts answered" in err) == (terminal and not as_json)
