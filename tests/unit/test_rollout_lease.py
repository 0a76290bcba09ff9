"""The lease: on all hosts or none, kept alive, noticed when lost, given back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest

from stackpin.engine.remote import RemoteError, RemoteLost, RemoteRefused
from stackpin.engine.session import Mapped
from stackpin.errors import StackpinError
from stackpin.rollout import lease as module
from stackpin.rollout.lease import Lease, leases


class Hosts:
    """Leases by (host, stack) as the hosts keep them, with a script of failures per command."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], str] = {}
        self.tokens: dict[tuple[str, str], str] = {}
        self.renewals = self.execs = 0
        self.trouble: Callable[[str, str], Exception | None] = lambda _host, _command: None

    def call(self, host: str, command: str, stack: str, payload: Any, **_: Any) -> dict[str, Any]:
        error = self.trouble(host, command)
        if error:
            raise error
        if command == "state":  # asked with each lease that is taken, and answered after all
            return {"stack": stack}
        key = (host, stack)
        other = self.held.get(key) not in (None, payload["token"])
        if command == "lock-acquire":
            if other:
                raise RemoteRefused(host, f"{stack} is locked by bob for 7 s")
            self.held[key] = payload["token"]
        elif command == "lock-renew":
            if other:
                raise RemoteRefused(host, f"{stack} is locked by eve for 1 s")
            self.renewals += 1
        elif command == "lock-release" and not other:
            self.held.pop(key, None)
        return {}

    def many(self, host: str, calls: Any, **_: Any) -> list[Any]:
        self.execs += 1
        answers: list[Any] = []
        for command, stack, payload in calls:
            try:
                answers.append(self.call(host, command, stack, payload))
            except RemoteLost:
                raise
            except RemoteError as error:
                answers.append(error)
        return answers

    def map(self, function: Callable[[str], Any], hosts: Any) -> Mapped[Any]:
        result: Mapped[Any] = Mapped()
        for host in hosts:
            try:
                result.values[host] = function(host)
            except Exception as error:
                result.errors[host] = error
        return result

    def hold(self, host: str, stack: str, token: str | None) -> None:
        if token is None:
            self.tokens.pop((host, stack), None)
        else:
            self.tokens[host, stack] = token


def take(hosts: Hosts, ttl: float = 60.0) -> Lease:
    lease = Lease(hosts, ["portal", "crm"], "test", ttl)  # type: ignore[arg-type]
    lease.take(["a", "b"])
    return lease


def test_taken_sent_along_and_given_back() -> None:
    hosts = Hosts()
    lease = take(hosts)
    assert len(hosts.held) == len(hosts.tokens) == 4
    assert hosts.execs == 2, "one for both parts of a host"
    assert set(hosts.held.values()) == {lease.token}
    lease.check()
    lease.give_back()
    assert hosts.held == hosts.tokens == {}


def test_all_or_none() -> None:
    hosts = Hosts()
    hosts.held["b", "crm"] = "bobs"
    with pytest.raises(RemoteRefused, match="bob for 7 s"):
        take(hosts)
    assert hosts.held == {("b", "crm"): "bobs"}
    assert hosts.tokens == {}


def test_a_lease_taken_without_an_answer_is_given_back() -> None:
    hosts = Hosts()
    many = hosts.many

    def lost_on_the_way_back(host: str, calls: Any, **options: Any) -> list[Any]:
        answers = many(host, calls, **options)
        if host == "b" and calls[0][0] == "lock-acquire":
            raise RemoteLost("b", "no answer within 90 s")
        return answers

    hosts.many = lost_on_the_way_back  # type: ignore[method-assign]
    with pytest.raises(RemoteLost):
        take(hosts)
    assert hosts.held == {}


def test_waits_for_a_holder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_STEP", 0.01)
    hosts = Hosts()
    hosts.held["a", "crm"] = "bobs"
    gevent.spawn_later(0.05, hosts.held.clear)
    with leases(hosts, "crm", ["a"], "test", wait=5.0):  # type: ignore[arg-type]
        assert ("a", "crm") in hosts.held
    assert hosts.held == {}


def test_the_heart_beats() -> None:
    hosts = Hosts()
    lease = take(hosts, ttl=0.09)
    gevent.sleep(0.2)
    lease.give_back()
    beats = hosts.renewals
    assert beats >= 4
    # Four more leases were taken, four given back.
    assert hosts.execs * 2 == beats + 8, "one exec for both parts of a host"
    gevent.sleep(0.1)
    assert hosts.renewals == beats


def test_a_stolen_lease_stops_the_run() -> None:
    hosts = Hosts()
    lease = take(hosts, ttl=0.03)
    hosts.held["b", "crm"] = "eves"
    gevent.sleep(0.1)
    with pytest.raises(StackpinError, match="eve"):
        lease.check()
    lease.give_back()
    assert hosts.held == {("b", "crm"): "eves"}


def test_a_short_silence_is_forgiven_a_long_one_not() -> None:
    hosts = Hosts()
    lease = take(hosts, ttl=0.3)

    def silent(host: str, command: str) -> RemoteError | None:
        return RemoteLost(host, "cut") if command == "lock-renew" else None

    hosts.trouble = silent
    gevent.sleep(0.15)
    lease.check()
    gevent.sleep(0.5)
    with pytest.raises(StackpinError, match="cut"):
        lease.check()
    lease.give_back()


def test_a_host_that_failed_holds_up_nobody_also_when_its_lease_is_lost_already() -> None:
    hosts = Hosts()
    lease = take(hosts, ttl=0.03)
    hosts.trouble = lambda host, _: RemoteLost(host, "cut") if host == "b" else None
    gevent.sleep(0.1)
    with pytest.raises(StackpinError, match="cut"):
        lease.check()
    lease.excuse({"a": StackpinError("a hook"), "b": RemoteLost("b", "cut")})
    lease.check()
    hosts.held["a", "crm"] = "eves"
    gevent.sleep(0.1)
    with pytest.raises(StackpinError, match="eve"):
        lease.check()
    lease.excuse({"a": RemoteRefused("a", "locked by eve")})
    with pytest.raises(StackpinError, match="eve"):
        lease.check()
    lease.give_back()


def test_a_node_out_of_reach_does_not_stop_the_others_somebody_in_its_place_does() -> None:
    hosts = Hosts()
    lease = Lease(hosts, {"a": ["xingrin-server"], "b": ["xingrin-worker"]}, "test", 0.03)  # type: ignore[arg-type]
    lease.take(["a", "b"])
    hosts.trouble = lambda host, _: RemoteLost(host, "cut") if host == "b" else None
    gevent.sleep(0.1)
    lease.check()
    hosts.trouble = lambda host, _: None
    hosts.held["b", "xingrin-worker"] = "eves"
    gevent.sleep(0.1)
    with pytest.raises(StackpinError, match="eve"):
        lease.check()
    lease.give_back()
