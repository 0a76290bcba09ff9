"""Which nodes are updated now, and how long a failed one is left alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpin.fleet.backoff import FIRST, LONGEST, Failure, after, due, target_of
from stackpin.fleet.decide import Policy, decide, server_problem
from stackpin.fleet.model import Beat, Lease, Node, Observation, Server, Want
from stackpin.fleet.simulated import Clock, SimulatedFleet, digest_of
from stackpin.fleet.states import judge

NOW = 1_000_000.0
OLD, NEW = "v1.1.0", "v1.2.0"
WANT = Want(NEW, digest_of(NEW))
TARGET = target_of(WANT)
SERVER = Server("server", NEW, digest_of(NEW), healthy=True)


def node(name: str, version: str | None = OLD, **values) -> Node:
    return Node(
        name, id=1, installed=version is not None, running=version is not None, version=version,
        digest=version and digest_of(version), beat=Beat(1.0), **values,
    )  # fmt: skip


def seen(*nodes: Node, server: Server = SERVER) -> Observation:
    return Observation(WANT, server, nodes, digest_of(NEW))


def names(decision) -> list[str]:
    return [node.name for node in decision.update]


def test_a_batch_of_those_that_differ_in_order():
    decision = decide(seen(*map(node, "dbca")), {}, NOW, Policy(batch=2))
    assert names(decision) == ["a", "b"]
    assert decision.waiting == {"c": "in a later batch", "d": "in a later batch"}


def test_nodes_in_order_are_left_out():
    decision = decide(seen(node("a", NEW), node("b")), {}, NOW, Policy(batch=9))
    assert names(decision) == ["b"]
    assert decision.waiting == {}


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (node("a", reachable=False, problem="a: no SSH"), "cannot be reached"),
        (node("a", local=True, declared=False, reachable=None), "local node"),
        (node("a", lease=Lease("ann")), "at work"),
        (node("a", run_open=True), "at work"),
        (node("a", None), "workers add"),
    ],
)
def test_nodes_that_must_wait_say_why(one, why):
    decision = decide(seen(one), {}, NOW, Policy(batch=9))
    assert decision.update == ()
    assert why in decision.waiting["a"]


def test_nodes_without_an_agent_get_one_when_asked_to():
    decision = decide(seen(node("a", None)), {}, NOW, Policy(install=True))
    assert names(decision) == ["a"]


@pytest.mark.parametrize(
    ("server", "why"),
    [
        (replace(SERVER, version=OLD), "runs v1.1.0, v1.2.0 is pinned: update it first"),
        (replace(SERVER, digest=digest_of("x")), "not the locked one"),
        (replace(SERVER, healthy=False), "not healthy"),
        (Server("server", problem="server: no SSH"), "no SSH"),
    ],
)
def test_nothing_is_updated_against_a_server_that_is_not_as_it_should_be(server, why):
    decision = decide(seen(node("a"), server=server), {}, NOW, Policy(batch=9))
    assert decision.update == ()
    assert why in decision.halted
    assert why in decision.waiting["a"]


def test_a_failed_node_waits_and_then_comes_after_the_others():
    failures = {"a": Failure(TARGET, 1, NOW + 30, "unknown", "x")}
    fleet = seen(node("a"), node("b"))
    early = decide(fleet, failures, NOW, Policy(batch=9))
    assert names(early) == ["b"]
    assert "30 s after 1 failure" in early.waiting["a"]
    assert names(decide(fleet, failures, NOW + 30, Policy(batch=1))) == ["b"]
    assert names(decide(fleet, failures, NOW + 30, Policy(batch=2))) == ["b", "a"]


def test_a_version_that_fails_on_several_is_kept_from_the_others():
    failures = {name: Failure(TARGET, 1, NOW, "rolled-back") for name in "ab"}
    decision = decide(seen(*map(node, "abcd")), failures, NOW, Policy(batch=3, max_failures=1))
    assert names(decision) == ["a"]
    assert "failed on 2 nodes (a, b)" in decision.halted
    assert set(decision.waiting) == {"b", "c", "d"}


def test_refusals_do_not_speak_against_a_version():
    failures = {name: Failure(TARGET, 1, NOW, "refused") for name in "ab"}
    decision = decide(seen(*map(node, "abcd")), failures, NOW, Policy(batch=3, max_failures=1))
    assert decision.halted == ""
    assert names(decision) == ["c", "d", "a"]


def test_another_pin_forgets_failures():
    failures = {"a": Failure("v1.1.5@x", 9, NOW + LONGEST, "failed")}
    assert names(decide(seen(node("a")), failures, NOW, Policy())) == ["a"]


def test_backoff_doubles_up_to_half_an_hour_and_starts_anew_for_another_target():
    failure, waits = None, []
    for _ in range(8):
        failure = after(failure, TARGET, "failed", "x", NOW)
        waits.append((failure.until - NOW) / 60)
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
    assert after(failure, "other", "failed", "x", NOW).failures == 1


def test_a_clock_set_back_cannot_prolong_a_wait():
    failure = after(None, TARGET, "failed", "x", NOW)
    # It would never come: the clock says "not yet" for a year.
    assert failure.left(NOW - 365 * 86400) == 0
    assert failure.left(NOW) == FIRST
    assert due(failure, TARGET, NOW + FIRST)


names_ = st.sampled_from([f"n{index}" for index in range(12)])
any_nodes = st.lists(
    st.builds(
        node,
        names_,
        st.sampled_from([OLD, NEW, None]),
        declared=st.booleans(),
        local=st.booleans(),
        reachable=st.sampled_from([True, False, None]),
        run_open=st.booleans(),
        lease=st.one_of(st.none(), st.just(Lease("ann"))),
    ),
    unique_by=lambda one: one.name,
)
any_failures = st.dictionaries(
    names_,
    st.builds(
        Failure,
        target=st.sampled_from([TARGET, "other"]),
        failures=st.integers(1, 40),
        until=st.floats(NOW - 5000, NOW + 5000),
        kind=st.sampled_from(["failed", "rolled-back", "refused", "unknown"]),
    ),
)
policies = st.builds(Policy, st.integers(0, 5), st.booleans(), st.integers(0, 3))
servers = st.sampled_from([SERVER, replace(SERVER, version=OLD), replace(SERVER, healthy=False)])


@given(any_nodes, any_failures, policies, servers)
def test_only_nodes_that_may_be_updated_are(nodes, failures, policy, server):
    fleet = seen(*nodes, server=server)
    decision = decide(fleet, failures, NOW, policy)
    assert len(decision.update) <= policy.batch
    for one in decision.update:
        assert judge(WANT, one, fleet.ttl).differs
        assert one.reachable is True
        assert one.declared
        assert not one.local
        assert not one.run_open
        assert one.lease is None
        assert one.installed or policy.install
        assert one.version != NEW
        assert due(failures.get(one.name), TARGET, NOW)
    if server_problem(fleet):
        assert decision.update == ()
    if decision.halted:
        assert len(decision.update) <= 1


@given(any_nodes, any_failures, policies)
def test_every_node_that_differs_is_updated_or_told_why_not(nodes, failures, policy):
    fleet = seen(*nodes)
    decision = decide(fleet, failures, NOW, policy)
    chosen = {one.name for one in decision.update}
    assert chosen.isdisjoint(decision.waiting)
    for one in nodes:
        if decision.states[one.name].differs:
            assert one.name in chosen or decision.waiting[one.name]


@given(st.integers(1, 30), st.integers(1, 9), st.sets(st.integers(1, 30)))
def test_a_fleet_converges_without_touching_what_is_in_order(number, batch, fresh):
    fleet = SimulatedFleet.of(number, OLD, Clock())
    fleet.pin(NEW)
    done = {f"node{index:03}" for index in fresh if index <= number}
    for name in done:
        fleet.change(name, version=NEW, digest=digest_of(NEW))
    for _ in range(number + 1):
        decision = decide(fleet.observe(), {}, NOW, Policy(batch=batch))
        if not decision.update:
            break
        fleet.update(decision.update)
    touched = [name for _, name, _ in fleet.updates]
    assert len(touched) == len(set(touched)) == number - len(done)
    assert done.isdisjoint(touched)
    assert fleet.peak <= batch
    assert {judged.state for judged in decision.states.values()} == {"online"}
