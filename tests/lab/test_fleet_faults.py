"""Nodes cut off, tools killed, disks full: nothing is left half-way, and the next run converges.

Each test goes from the version it finds to the other one, so that none pays for a way back.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from fleet_kit import NEW, OLD, Fleet
from project import Ran

pytestmark = pytest.mark.timeout(900)

NODES = 3
CUT = "node2"


@pytest.fixture(autouse=True)
def settled(fleet: Fleet) -> Iterator[None]:
    """Every test begins with the whole fleet on one version."""
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


def on_stage(fleet: Fleet, stage: str, part: str, command: str) -> None:
    """Run `command` once, before `stage` of `part`."""
    fleet.hook(
        stage,
        f'[ "$STACKPIN_STACK" = {part} ] || exit 0\n'
        f"[ -e {fleet.folder}/done-{stage} ] && exit 0\n"
        f"touch {fleet.folder}/done-{stage}\n{command}",
    )
    (fleet.folder / f"done-{stage}").unlink(missing_ok=True)


def test_a_node_that_is_away_is_reconciled_later_and_alone(fleet: Fleet):
    _old, new = old_and_new(fleet)
    ids = fleet.agents()
    fleet.lab.cut(CUT)
    ran = go(fleet, new).exits(2)
    assert CUT in ran.text
    assert fleet.pinned() == new, "the others run it"
    fleet.runs(new, others(fleet, CUT))
    fleet.lab.heal(CUT)
    assert fleet.agents()[CUT] == ids[CUT], "it was left alone"
    between = fleet.agents()
    fleet.deploy().exits(0)
    fleet.runs(new)
    after = fleet.agents()
    assert {node for node in fleet.nodes if after[node] != between[node]} == {CUT}


@pytest.mark.parametrize("stage", ["start", "confirm"])
def test_a_node_cut_off_in_the_middle_goes_back_by_itself(fleet: Fleet, stage: str):
    old, new = old_and_new(fleet)
    lab = f"{fleet.lab.paths.home}"
    cut = f"STACKPIN_LAB_DIR={lab} {fleet.argv('x', 'x')[0]} lab cut node1 >/dev/null"
    on_stage(fleet, stage, "xingrin-worker", cut)
    ran = go(fleet, new)
    assert ran.code in (4, 5), ran.text
    assert "node1" in ran.text
    assert fleet.pinned() == old
    fleet.runs(old, others(fleet, "node1"))
    # Its guard needs nobody: by its own clock, while it is still cut off.
    time.sleep(50)
    fleet.lab.heal("node1")
    fleet.wait_for(
        lambda: fleet.agent_digest("node1") == fleet.digest("agent", old), 30, "the guard"
    )
    fleet.unhook()
    fleet.deploy().exits(0)
    fleet.runs(old)


@pytest.mark.parametrize("stage", ["pull", "start", "switch", "confirm", "retire"])
def test_the_tool_killed_in_the_middle_of_a_batch(fleet: Fleet, stage: str):
    _old, new = old_and_new(fleet)
    part = "xingrin" if stage == "pull" else "xingrin-worker"
    on_stage(fleet, stage, part, "kill -9 $STACKPIN_PID; sleep 1")
    ran = go(fleet, new)
    assert ran.code == -9, ran.text
    fleet.unhook()
    # The next run finds a lease that ends by itself, takes back or completes what was begun.
    again = go(fleet, new)
    assert again.code == 0, again.text
    fleet.runs(new)
    for node in fleet.nodes:
        names = fleet.on(node, "docker ps -a --format '{{.Names}}'").split()
        assert names == ["xingrin-agent"], f"{node}: {names}"


def test_a_full_disk_on_one_node_stops_before_anything_is_switched(fleet: Fleet):
    old, new = old_and_new(fleet)
    fleet.on("node3", "docker image prune -af >/dev/null")
    agents, server = fleet.agents(), fleet.server_digest()
    mount = "mount -t tmpfs -o size=1m tmpfs /var/lib/docker/tmp"
    fleet.on("node3", mount)
    try:
        ran = go(fleet, new).exits(3)
    finally:
        fleet.on("node3", "umount /var/lib/docker/tmp")
    assert "node3" in ran.text
    assert "space" in ran.text.lower()
    assert (fleet.agents(), fleet.server_digest()) == (agents, server)
    assert fleet.pinned() == old


def test_failures_that_are_allowed_leave_only_the_failed_node_behind(fleet: Fleet):
    _old, new = old_and_new(fleet)
    ids = fleet.agents()
    # This node's agent never gets through to the server.
    block = f"ip saddr 172.16.0.0/12 ip daddr {fleet.host.address} drop"
    table = "table inet deaf { chain c { type filter hook forward priority -10; " + block + "; } }"
    fleet.on("node2", f"nft '{table}'")
    try:
        ran = go(fleet, new, "--max-failures", "1").exits(4)
        assert "node2" in ran.text
        assert fleet.pinned() == new
        fleet.runs(new, others(fleet, "node2"))
        assert fleet.agents()["node2"] == ids["node2"], "the old agent survives"
    finally:
        fleet.on("node2", "nft delete table inet deaf")
    fleet.deploy().exits(0)
    fleet.runs(new)


def test_halt_leaves_confirmed_nodes_where_they_are(fleet: Fleet):
    old, new = old_and_new(fleet)
    on_stage(fleet, "begin", "xingrin-worker", "exit 0")
    fleet.hook(
        "gate",
        '[ "$STACKPIN_STACK" = xingrin-worker ] || exit 0\n'
        '[ "$STACKPIN_HOSTS" = node1 ] && exit 0\necho no >&2; exit 1',
    )
    ran = go(fleet, new, "--on-failure", "halt")
    assert ran.code != 0, ran.text
    assert fleet.agent_digest("node1") == fleet.digest("agent", new)
    assert fleet.agent_digest("node2") == fleet.digest("agent", old)


def test_two_operators_do_not_mix(fleet: Fleet):
    _old, new = old_and_new(fleet)
    fleet.hook("start", '[ "$STACKPIN_STACK" = xingrin-worker ] && sleep 8; exit 0')
    first = fleet.start(
        "update", "xingrin", "--version", new, "--allow-downgrade", "--yes", "--batch", "1,100%"
    )
    fleet.wait_for(lambda: fleet.pinned() == new, 60, "the first begins")
    time.sleep(15)
    second = fleet.stackpin("deploy", "xingrin", "--yes").exits(3)
    assert "lock" in second.text
    out, err = first.communicate(timeout=400)
    assert first.returncode == 0, out + err
    fleet.unhook()
    fleet.runs(new)
