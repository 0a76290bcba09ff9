"""The state of a node: from facts and heartbeats, and what holds for every combination of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpin.fleet.model import Beat, Lease, Node, Want
from stackpin.fleet.simulated import digest_of
from stackpin.fleet.states import STATES, judge

TTL = 15.0
WANT = Want("v1.2.0", digest_of("v1.2.0"))
GOOD = Node(
    "node1", "10.0.0.1", id=2, installed=True, running=True, version="v1.2.0",
    digest=digest_of("v1.2.0"), beat=Beat(3.0, 10.0, 20.0), row_status="online",
)  # fmt: skip
OLD = replace(GOOD, version="v1.1.0", digest=digest_of("v1.1.0"))
NEW = Node("node1", row_status="pending")
WORK = Lease("ann@desk", "update v1.2.0")
GONE = {"reachable": False, "problem": "node1: no SSH connection"}


@pytest.mark.parametrize(
    ("node", "state", "differs", "reason"),
    [
        pytest.param(GOOD, "online", False, "runs v1.2.0, last heartbeat 3 s", id="good"),
        pytest.param(OLD, "outdated", True, "runs v1.1.0, v1.2.0 is pinned", id="old"),
        pytest.param(
            replace(GOOD, digest=digest_of("other")), "outdated", True, "is locked", id="moved"
        ),
        pytest.param(replace(GOOD, digest=None), "outdated", True, "unknown", id="no digest"),
        pytest.param(replace(GOOD, beat=None), "offline", False, "no heartbeat", id="silent"),
        pytest.param(
            replace(GOOD, beat=Beat(16.0)), "offline", False, "heartbeat 16 s ago", id="stale"
        ),
        pytest.param(replace(GOOD, beat=Beat(15.0)), "online", False, "15 s ago", id="just fresh"),
        pytest.param(replace(OLD, beat=None), "offline", True, "v1.2.0 is pinned", id="old silent"),
        pytest.param(
            replace(GOOD, beat=None, beats_known=False), "offline", False, "could not be asked",
            id="server silent",
        ),
        pytest.param(replace(GOOD, running=False), "offline", True, "does not run", id="stopped"),
        pytest.param(Node("node1", **GONE), "offline", False, "no SSH", id="unreachable"),
        pytest.param(
            Node("node1", **GONE, beat=Beat(2.0)), "offline", False, "still beats", id="cut off"
        ),
        pytest.param(NEW, "pending", True, "no agent", id="declared"),
        pytest.param(replace(NEW, lease=WORK), "deploying", True, "ann@desk", id="being added"),
        pytest.param(
            replace(NEW, run_open=True, first=True, lease=WORK), "deploying", True, "first install",
            id="first run",
        ),
        pytest.param(
            replace(OLD, run_open=True), "updating", True, "rollout is under way", id="rollout"
        ),
        pytest.param(replace(OLD, lease=WORK), "updating", True, "ann@desk", id="leased"),
        pytest.param(replace(GOOD, lease=WORK), "online", False, "runs", id="leased in order"),
        pytest.param(
            replace(OLD, local=True, declared=False, reachable=None, digest=None), "outdated", True,
            "updated with the server", id="local",
        ),
        pytest.param(
            replace(GOOD, local=True, declared=False, reachable=None, digest=None), "online", False,
            "runs", id="local in order",
        ),
        pytest.param(
            Node("x", declared=False, reachable=None, row_status="pending"), "pending", False,
            "not in inventory", id="undeclared, never heard of",
        ),
        pytest.param(
            Node("x", declared=False, reachable=None, row_status="online"), "offline", False,
            "not in the inventory", id="undeclared, silent",
        ),
        pytest.param(
            Node("x", declared=False, reachable=None, beat=Beat(1.0)), "outdated", False,
            "unknown", id="undeclared, beating",
        ),
    ],
)  # fmt: skip
def test_state(node, state, differs, reason):
    judged = judge(WANT, node, TTL)
    assert (judged.state, judged.differs) == (state, differs)
    assert reason in judged.reason


def test_without_a_locked_digest_the_version_decides():
    want = Want("v1.2.0")
    assert judge(want, replace(GOOD, digest=None), TTL).state == "online"
    assert judge(want, OLD, TTL).state == "outdated"


@pytest.mark.parametrize("status", ["pending", "deploying", "online", "updating", "outdated"])
def test_what_the_server_claims_decides_nothing_about_a_declared_node(status):
    for node in (GOOD, OLD, NEW, replace(GOOD, beat=None)):
        claimed = replace(node, row_status=status)
        assert judge(WANT, claimed, TTL) == judge(WANT, node, TTL)


versions = st.sampled_from(["v1.1.0", "v1.2.0", None])
nodes = st.builds(
    Node,
    name=st.just("node1"),
    declared=st.booleans(),
    local=st.booleans(),
    id=st.one_of(st.none(), st.integers(1, 9)),
    reachable=st.sampled_from([True, False, None]),
    installed=st.booleans(),
    running=st.booleans(),
    version=versions,
    digest=versions.map(lambda version: version and digest_of(version)),
    run_open=st.booleans(),
    first=st.booleans(),
    lease=st.one_of(st.none(), st.just(WORK)),
    beat=st.one_of(st.none(), st.builds(Beat, age=st.floats(0, 60))),
    beats_known=st.booleans(),
    row_status=st.sampled_from([None, *STATES]),
)


@given(nodes)
def test_every_node_has_a_known_state_and_a_reason(node):
    judged = judge(WANT, node, TTL)
    assert judged.state in STATES
    assert judged.reason


@given(nodes)
def test_online_means_right_digest_and_fresh_beat(node):
    judged = judge(WANT, node, TTL)
    if judged.state == "online":
        assert not judged.differs
        assert node.installed
        assert node.running
        assert node.version == WANT.version
        assert node.digest == WANT.digest or (node.local and node.digest is None)
        assert node.beats_known
        assert node.beat is not None
        assert node.beat.age <= TTL


@given(nodes)
def test_a_reason_to_act_is_only_claimed_of_what_was_looked_at(node):
    judged = judge(WANT, node, TTL)
    if judged.differs:
        assert node.reachable is not False
        assert node.declared or node.local
