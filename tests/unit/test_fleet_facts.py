"""Reading what hosts, the server and a rollout answered."""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

import gevent
import pytest

from stackpin.errors import StackpinError
from stackpin.fleet.facts import Declared, nodes_of, server_of
from stackpin.fleet.model import Node, Outcome
from stackpin.fleet.redis_lease import Held, redis_leases
from stackpin.fleet.rollouts import Rollouts, outcomes

DIGEST = "sha256:" + "a" * 64
STATE: dict[str, Any] = {
    "installed": True,
    "live_slot": "blue",
    "live_release": "v1.2.0-0123abcd",
    "releases": [{"id": "v1.2.0-0123abcd", "version": "v1.2.0"}],
    "slots": {"blue": {"active": "active", "digest": DIGEST, "health": None}},
    "run": {"stage": "retired", "first": True},
    "pending": None,
    "lock": None,
}
DECLARED = Declared("node1", "node1", "10.0.0.1")


def row(number: int, name: str, address: str = "", **values: Any) -> dict[str, Any]:
    return {
        "id": number, "name": name, "address": address, "local": False, "api_status": "online",
        "row_status": "online", "beat": {"updated": 1.0, "age": 2.0, "cpu": 5.0, "mem": 7.0},
        **values,
    }  # fmt: skip


def one(state: dict[str, Any] | None, rows: Any = (), **values: Any) -> Node:
    (node,) = nodes_of([DECLARED], {} if state is None else {"node1": state}, values, rows)
    return node


def test_a_node_that_runs():
    node = one(STATE, [row(4, "node1")])
    assert (node.id, node.version, node.digest, node.running) == (4, "v1.2.0", DIGEST, True)
    assert node.beat
    assert (node.beat.age, node.beat.cpu, node.beat.memory) == (2.0, 5.0, 7.0)
    assert not node.run_open
    assert not node.first


@pytest.mark.parametrize(
    ("rows", "number"),
    [
        ([row(1, "other"), row(2, "node1")], 2),
        ([row(1, "renamed", "10.0.0.1")], 1),
        ([row(1, "else", "10.0.0.1"), row(2, "node1", "10.9.9.9")], 2),
        ([row(1, "node1", local=True)], None),
        ([], None),
    ],
)
def test_its_worker_is_found_by_name_then_by_address_and_never_a_local_one(rows, number):
    (node, *_rest) = nodes_of([DECLARED], {"node1": STATE}, {}, rows)
    assert node.id == number


def test_nodes_that_did_not_answer_and_a_server_that_did_not():
    node = one(None, None, node1="node1: no SSH connection")
    assert node.reachable is False
    assert node.problem == "node1: no SSH connection"
    assert not node.beats_known


def test_local_and_unlisted_workers_follow_the_declared_ones():
    rows = [row(9, "node1"), row(3, "stray"), row(1, "本地节点", local=True), row(5, "stray")]
    nodes = nodes_of([DECLARED], {"node1": STATE}, {}, rows, "v1.2.0")
    assert [node.name for node in nodes] == ["node1", "本地节点", "stray", "stray (worker 5)"]
    local = nodes[1]
    assert local.local
    assert local.version == "v1.2.0"
    assert not nodes[2].declared
    assert len(nodes_of([DECLARED], {"node1": STATE}, {}, rows, everyone=False)) == 1


@pytest.mark.parametrize(
    ("changes", "open_"),
    [
        ({}, False),
        ({"run": {"stage": "gated"}, "lock": {"owner": "ann"}}, True),
        ({"run": {"stage": "switched"}, "pending": {"deadline": 1}}, True),
        ({"run": {"stage": "begun"}}, False),  # its operator is dead, and no guard is armed
        ({"lock": {"owner": "ann"}}, False),
    ],
)
def test_a_run_is_open_while_somebody_or_a_guard_ends_it(changes, open_):
    assert one({**STATE, **changes}).run_open is open_


def test_a_node_without_an_agent():
    assert not one({"installed": False, "lock": None}).installed
    assert not one({**STATE, "live_slot": None, "live_release": None}).installed
    stopped = one({**STATE, "slots": {"blue": {"active": "failed"}}})
    assert stopped.installed
    assert not stopped.running
    assert stopped.digest is None


def test_the_server():
    fleet = {"version": "v1.2.0", "workers": []}
    server = server_of("server", STATE, fleet)
    assert (server.version, server.digest, server.healthy, server.problem) == (
        "v1.2.0", DIGEST, True, ""
    )  # fmt: skip
    sick = {**STATE, "slots": {"blue": {"active": "active", "health": "unhealthy"}}}
    assert not server_of("server", sick, fleet).healthy
    assert "no server was deployed" in server_of("server", {"installed": False}, fleet).problem
    busy = {**STATE, "run": {"stage": "gated"}, "lock": {"owner": "ann"}}
    assert "under way" in server_of("server", busy, fleet).problem
    assert server_of("server", None, None, "server: no SSH").problem == "server: no SSH"


# --- rollouts -----------------------------------------------------------------------------------


def told(**hosts: tuple[str, int]) -> str:
    found = {
        host: {"xingrin-worker": {"outcome": outcome, "code": code, "error": f"{host} said"}}
        for host, (outcome, code) in hosts.items()
    }
    return json.dumps({"hosts": found})


@pytest.mark.parametrize(
    ("outcome", "code", "kind"),
    [
        ("serving", 0, "updated"),
        ("in-sync", 0, "updated"),
        ("changed", 0, "updated"),
        ("in-sync", 5, "unknown"),
        ("serving", 1, "unknown"),
        ("rolled-back", 4, "rolled-back"),
        ("failed", 1, "failed"),
        ("unknown", 5, "unknown"),
        ("unreachable", 2, "unreachable"),
        ("skipped", 0, "refused"),
    ],
)
def test_outcomes_of_a_rollout(outcome, code, kind):
    found = outcomes(told(node1=(outcome, code)), code, ["node1"])["node1"]
    assert found.kind == kind
    assert bool(found.error) is (kind != "updated")


@pytest.mark.parametrize(
    ("out", "code", "kind"),
    [
        ('{"error": {"message": "node1 is locked by ann"}}', 3, "refused"),
        ("", 1, "failed"),
        ("Traceback", -9, "failed"),
        ("[]", 1, "failed"),
        ('{"hosts": {}}', 0, "unknown"),
        ("", 130, "refused"),
    ],
)
def test_a_rollout_that_says_nothing_of_a_node(out, code, kind):
    found = outcomes(out, code, ["node1"])["node1"]
    assert found.kind == kind
    assert found.error


def test_the_command_names_the_nodes_and_lets_each_stand_for_itself():
    argv = Rollouts("inventories/prod", {"a": [1], "b": "x"}).argv(["n1", "n2"])
    text = " ".join(argv)
    assert "-m stackpin deploy inventories/prod xingrin-worker --limit n1,n2 --yes --json" in text
    assert "--batch 100% --max-failures 2 --on-failure halt --data a=[1] --data b=x" in text


class Played(Rollouts):
    """Runs a Python text instead of stackpin."""

    text = ""

    def argv(self, hosts: Any) -> list[str]:
        return [sys.executable, "-c", self.text]


def test_a_rollout_is_a_process_of_its_own():
    played = Played("x")
    played.text = f"print({told(node1=('serving', 0))!r})"
    assert played.run(["node1"])["node1"].kind == "updated"
    assert not played.busy


def test_an_abort_lets_the_rollout_end_by_itself(tmp_path):
    played, ready = Played("x"), tmp_path / "ready"
    played.text = (
        "import pathlib, signal, sys, time\n"
        f"def end(*_):\n    print({told(node1=('rolled-back', 4))!r}); sys.exit(4)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        f"pathlib.Path({str(ready)!r}).touch()\ntime.sleep(60)\n"
    )

    def abort() -> None:
        while not ready.exists():
            time.sleep(0.05)
        played.abort()

    thread = threading.Thread(target=abort)
    thread.start()
    found = played.run(["node1"])
    thread.join()
    assert found["node1"].kind == "rolled-back"


def test_a_program_that_is_missing_is_a_refusal():
    class Missing(Rollouts):
        def argv(self, hosts: Any) -> list[str]:
            return ["/nowhere/python"]

    assert Missing("x").run(["node1"])["node1"].kind == "refused"


# --- leases in Redis ----------------------------------------------------------------------------


class Redis:
    """The keys as `redis-lease` keeps them."""

    def __init__(self) -> None:
        self.keys: dict[str, str] = {}
        self.renewals = 0
        self.down = False

    def __call__(self, payload: Any) -> dict[str, Any]:
        if self.down:
            raise StackpinError("server: redis does not answer")
        key, token, action = payload["key"], payload["token"], payload["action"]
        assert payload["ttl"] > 0
        if action == "take":
            return {"held": self.keys.setdefault(key, token) == token}
        ours = self.keys.get(key) == token
        if action == "release" and ours:
            del self.keys[key]
        self.renewals += action == "renew" and ours
        return {"held": ours}


NODES = [Node("a", id=1), Node("b", id=2), Node("new")]


def test_leases_are_taken_under_the_application_s_key_and_given_back():
    redis = Redis()
    with redis_leases(redis, NODES) as held:
        assert set(redis.keys) == {"agent_update_lock:1", "agent_update_lock:2"}
        assert set(held.nodes) == {"a", "b", "new"}
    assert redis.keys == {}


def test_somebody_else_s_lease_is_left_alone():
    redis = Redis()
    redis.keys["agent_update_lock:2"] = "the server's own"
    with redis_leases(redis, NODES) as held:
        assert set(held.nodes) == {"a", "new"}
        assert "held by somebody else" in held.refused["b"]
    assert redis.keys == {"agent_update_lock:2": "the server's own"}


def test_leases_are_renewed_while_the_work_lasts_and_a_lost_one_is_told():
    redis = Redis()
    calls = []
    with redis_leases(redis, NODES, ttl=1) as held:
        held.taken_over = lambda name, why: calls.append((name, why))
        gevent.sleep(0.5)
        assert redis.renewals >= 2
        redis.keys["agent_update_lock:1"] = "taken over"
        gevent.sleep(0.8)
        assert "taken over" in held.lost["a"]
        assert calls == [("a", held.lost["a"])]
    assert redis.keys == {"agent_update_lock:1": "taken over"}


def test_an_update_taken_back_for_a_lease_is_held_and_not_the_version_s_fault():
    redis = Redis()
    held = Held(redis)
    held.take(NODES)
    redis.keys["agent_update_lock:1"] = "the server's own"
    held.renew()
    told = held.told({"a": Outcome("rolled-back", "interrupted"), "b": Outcome("updated")})
    assert (told["a"].kind, told["b"]) == ("held", Outcome("updated"))
    assert "taken over" in told["a"].lease
    assert "taken back, as agent_update_lock:1 was taken over" in told["a"].error
    assert held.told({"a": Outcome("unknown")})["a"].kind == "unknown"


def test_a_lease_that_ran_out_is_taken_again_and_told():
    redis = Redis()
    held = Held(redis)
    held.take(NODES)
    redis.keys.clear()  # Redis was restarted
    held.renew()
    assert redis.keys == {f"agent_update_lock:{n}": held.token for n in (1, 2)}
    assert "ran out and was taken again" in held.told({"a": Outcome("updated")})["a"].lease


def test_a_redis_that_is_silent_for_less_than_the_lease_loses_nothing():
    redis = Redis()
    with redis_leases(redis, NODES, ttl=1) as held:
        redis.down = True
        gevent.sleep(0.5)
        assert held.lost == {}
        redis.down = False
        gevent.sleep(0.5)
        assert held.lost == {}
        redis.down = True
        gevent.sleep(1.5)
        assert "could not be renewed in time" in held.lost["a"]


def test_leases_are_given_back_when_the_work_fails():
    redis = Redis()
    with pytest.raises(KeyboardInterrupt), redis_leases(redis, NODES):
        raise KeyboardInterrupt
    assert redis.keys == {}


def test_a_redis_that_does_not_answer_holds_up_the_nodes_not_the_watch():
    redis = Redis()
    redis.down = True
    held = Held(redis)
    held.take(NODES)
    assert set(held.refused) == {"a", "b"}
    held.release()
