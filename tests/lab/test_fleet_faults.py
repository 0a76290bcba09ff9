"""Nodes cut off, tools killed, disks full: nothing is left half-way, and the next run converges.

Each test goes from the version it finds to the other one, so that none pays for a way back.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from fleet_kit import NEW, OLD, Fleet
from project import STACKPIN, Ran

from stackpin.errors import StackpinError

pytestmark = pytest.mark.timeout(1200)

NODES = 3
# Stages before which the tool is killed, in the order of one node's way.
KILLS = ("start", "switch", "confirm", "retire")


@pytest.fixture(autouse=True)
def settled(fleet: Fleet) -> Iterator[None]:
    """Every test begins with the whole fleet on one version."""
    try:
        fleet.rests(fleet.pinned())
    except (AssertionError, StackpinError):  # the first test, or the one before failed
        fleet.settle(fleet.pinned())
    yield
    fleet.unhook()
    for name in ("server", *fleet.nodes):
        fleet.lab.heal(name)


def old_and_new(fleet: Fleet) -> tuple[str, str]:
    """What runs, and the version to go to."""
    old = fleet.pinned()
    return old, NEW if old == OLD else OLD


def go(fleet: Fleet, version: str, *words: str) -> Ran:
    return fleet.update(version, "--allow-downgrade", "--batch", "1,100%", *words)


def others(fleet: Fleet, *names: str) -> tuple[str, ...]:
    return tuple(node for node in fleet.nodes if node not in names)


def replaced(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """The nodes whose agent is another container than before."""
    return {node for node in after if after[node] != before[node]}


def on_stage(fleet: Fleet, stage: str, part: str, command: str) -> None:
    """Run `command` once, before `stage` of `part`."""
    done = fleet.folder / f"done-{stage}"
    done.unlink(missing_ok=True)
    fleet.hook(
        stage,
        f'[ "$STACKPIN_STACK" = {part} ] || exit 0\n[ -e {done} ] && exit 0\n'
        f"touch {done}\n{command}",
    )


def cut_before(fleet: Fleet, stage: str, node: str) -> None:
    cut = f"STACKPIN_LAB_DIR={fleet.lab.paths.home} {STACKPIN} lab cut {node} >/dev/null"
    on_stage(fleet, stage, "xingrin-worker", cut)


def test_a_node_that_is_away_is_reconciled_later_and_alone(fleet: Fleet):
    _old, new = old_and_new(fleet)
    ids = fleet.agents()
    fleet.lab.cut("node2")
    ran = go(fleet, new).exits(2)
    assert "node2" in ran.text
    assert fleet.pinned() == new, "the others run it"
    fleet.runs(new, others(fleet, "node2"))
    fleet.lab.heal("node2")
    between = fleet.agents()
    assert between["node2"] == ids["node2"], "it was left alone"
    fleet.deploy().exits(0)
    assert replaced(between, fleet.agents()) == {"node2"}
    fleet.rests(new)


def test_a_node_cut_off_is_left_behind_where_that_is_allowed(fleet: Fleet):
    """Cut off before its agent starts: the others go on, and its own next run is a plain one."""
    _old, new = old_and_new(fleet)
    ids = fleet.agents()
    cut_before(fleet, "start", "node1")
    ran = go(fleet, new, "--max-failures", "1").exits(5)
    assert "node1" in ran.text
    assert fleet.pinned() == new
    fleet.runs(new, others(fleet, "node1"))
    fleet.lab.heal("node1")
    between = fleet.agents()
    assert between["node1"] == ids["node1"], "the old agent survives"
    fleet.deploy().exits(0)
    assert replaced(between, fleet.agents()) == {"node1"}
    fleet.rests(new)


def test_a_node_cut_off_before_it_is_confirmed_goes_back_by_itself(fleet: Fleet):
    """Its guard needs nobody. The others go back with the run; then all is as it was."""
    old, new = old_and_new(fleet)
    cut_before(fleet, "confirm", "node1")
    ran = go(fleet, new).exits(5)
    healed = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    assert "node1" in ran.text
    fleet.runs(old, others(fleet, "node1"))
    assert fleet.pinned() == old
    fleet.lab.heal("node1")
    last = [line for line in fleet.state_of("node1")["journal"] if line["event"] == "reverted"][-1]
    assert last["who"] == "guard", last
    assert last["t"][:19] <= healed, "nobody had to reach it"
    before = fleet.agents()
    fleet.deploy().exits(0)
    fleet.rests(old)
    assert fleet.agents() == before, "there was nothing left to do"


def test_the_tool_killed_before_the_first_switch(fleet: Fleet):
    old, new = old_and_new(fleet)
    agents, server = fleet.agents(), fleet.server_digest()
    on_stage(fleet, "pull", "xingrin", "kill -9 $STACKPIN_PID; sleep 1")
    ran = go(fleet, new)
    assert ran.code == -9, ran.text
    assert (fleet.agents(), fleet.server_digest()) == (agents, server)
    fleet.unhook()
    fleet.settle(old)
    assert fleet.agents() == agents, "what ran before still does, untouched"
    fleet.rests(old)


def test_the_tool_killed_in_the_middle_of_a_batch(fleet: Fleet):
    """Again and again, each time further on: every run goes on from what the one before left."""
    _old, new = old_and_new(fleet)
    for stage in KILLS:
        on_stage(fleet, stage, "xingrin-worker", "kill -9 $STACKPIN_PID; sleep 1")
        ran = go(fleet, new)
        assert ran.code == -9, f"{stage}: {ran.text}"
        fleet.unhook()
        # Whatever it was doing: an agent runs on every node.
        ask = "docker ps --quiet --filter label=stackpin.stack=xingrin-worker"
        assert all(fleet.on(node, ask).strip() for node in fleet.nodes), stage
    again = go(fleet, new)
    assert again.code == 0, again.text
    fleet.rests(new)


def test_a_full_disk_on_one_node_stops_before_anything_is_switched(fleet: Fleet):
    old, new = old_and_new(fleet)
    # Its images are pulled again, to a place where not one file can be made.
    fleet.on("node3", "docker image prune -af >/dev/null")
    agents, server = fleet.agents(), fleet.server_digest()
    fleet.on("node3", "mount -t tmpfs -o size=4k,nr_inodes=1 full /var/lib/docker/tmp")
    try:
        ran = go(fleet, new).exits(3)
    finally:
        fleet.on("node3", "umount /var/lib/docker/tmp")
    assert "node3" in ran.text
    assert "space" in ran.text.lower()
    assert (fleet.agents(), fleet.server_digest()) == (agents, server)
    fleet.rests(old)


def test_failures_that_are_allowed_leave_only_the_failed_node_behind(fleet: Fleet):
    _old, new = old_and_new(fleet)
    ids = fleet.agents()
    # This node's agent never gets through to the server.
    block = f"ip saddr 172.16.0.0/12 ip daddr {fleet.host.address} drop"
    table = "table inet deaf { chain c { type filter hook forward priority -10; " + block + "; }; }"
    fleet.on("node2", f"nft 'add {table}'")
    try:
        ran = go(fleet, new, "--max-failures", "1").exits(4)
        assert "node2" in ran.text
        assert fleet.pinned() == new
        fleet.runs(new, others(fleet, "node2"))
        assert fleet.agents()["node2"] == ids["node2"], "the old agent survives"
    finally:
        fleet.on("node2", "nft delete table inet deaf")
    fleet.deploy().exits(0)
    fleet.rests(new)


def test_halt_leaves_confirmed_nodes_where_they_are(fleet: Fleet):
    old, new = old_and_new(fleet)
    fleet.hook(
        "gate",
        '[ "$STACKPIN_STACK" = xingrin-worker ] || exit 0\n'
        '[ "$STACKPIN_HOSTS" = node1 ] && exit 0\necho no >&2; exit 1',
    )
    go(fleet, new, "--on-failure", "halt").exits(4)
    assert fleet.pinned() == old
    assert fleet.agent_digest("node1") != fleet.digest("agent", old)
    assert fleet.agent_digest("node2") == fleet.digest("agent", old)
    assert fleet.agent_digest("node3") == fleet.digest("agent", old)
    fleet.unhook()
    before = fleet.agents()
    go(fleet, new).exits(0)
    assert replaced(before, fleet.agents()) == {"node2", "node3"}
    fleet.rests(new)


def test_two_operators_do_not_mix(fleet: Fleet):
    _old, new = old_and_new(fleet)
    # The first stands still in the middle until the second was turned away.
    go_on = fleet.folder / "go-on"
    go_on.unlink(missing_ok=True)
    wait = f"for i in $(seq 300); do [ -e {go_on} ] && exit 0; sleep 0.2; done; exit 1"
    on_stage(fleet, "start", "xingrin-worker", wait)
    first = fleet.start(
        "update", "xingrin", "--version", new, "--allow-downgrade", "--yes", "--batch", "1,100%"
    )
    try:
        fleet.wait_for((fleet.folder / "done-start").exists, 300, "the first is at work")
        second = fleet.stackpin("deploy", "xingrin", "--yes").exits(3)
        assert "locked by" in second.text
    finally:
        go_on.touch()
        out, err = first.communicate(timeout=400)
    assert first.returncode == 0, out + err
    fleet.rests(new)
