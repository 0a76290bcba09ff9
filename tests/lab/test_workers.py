"""The nodes of a fleet: seen as they are, brought back in order, watched, added and removed."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fleet_kit import AGENT, GATE, INVENTORY, NEW, OLD, Fleet
from project import STACKPIN, Ran, flags

pytestmark = pytest.mark.timeout(900)

NODES = 2


def workers(fleet: Fleet, command: str, *words: str, **data: object) -> Ran:
    return fleet.program(argv(fleet, command, *words, **data))


def argv(fleet: Fleet, command: str, *words: str, **data: object) -> list[str]:
    return [
        STACKPIN, "workers", command, INVENTORY, *words, *flags({**fleet.DATA, **data}),
    ]  # fmt: skip


def states(fleet: Fleet) -> dict[str, dict[str, Any]]:
    """What `workers list` says of each declared node, by name."""
    found = workers(fleet, "list", "--json").json["workers"]
    return {one["name"]: one for one in found if one["declared"]}


def state(fleet: Fleet, node: str) -> str:
    return str(states(fleet)[node]["state"])


def pin(fleet: Fleet, version: str) -> None:
    fleet.stackpin("pin", "xingrin", "--version", version, "--allow-downgrade").exits(0)


def watch_once(fleet: Fleet, *words: str, **data: object) -> tuple[int, dict[str, Any]]:
    state_file = fleet.folder / "watch.json"
    ran = workers(fleet, "watch", "--once", "--json", "--state", str(state_file), *words, **data)
    return ran.code, json.loads(ran.out.splitlines()[-1]) if ran.out else {"text": ran.text}


@pytest.fixture(scope="module")
def settled(fleet: Fleet) -> Fleet:
    fleet.settle(OLD)
    return fleet


def test_a_fleet_in_order_is_online_and_left_alone(settled: Fleet):
    before = settled.agents()
    found = states(settled)
    assert {one["state"] for one in found.values()} == {"online"}, found
    assert {one["digest"] for one in found.values()} == {settled.digest("agent", OLD)}
    ids = {name: row["id"] for name, row in settled.workers().items()}
    assert {name: one["id"] for name, one in found.items()} == ids
    ran = workers(settled, "reconcile", "--yes")
    ran.exits(0)
    code, told = watch_once(settled)
    assert (code, told["states"]["online"]) == (0, NODES + 1)
    assert settled.agents() == before


def test_nothing_is_updated_while_the_server_is_on_another_version(settled: Fleet):
    before = settled.agents()
    pin(settled, NEW)
    assert "update it first" in workers(settled, "reconcile", "--yes").exits(3).text
    code, told = watch_once(settled)
    assert code == 2
    assert "update it first" in told["halted"]
    assert told["states"]["outdated"] == NODES + 1
    assert settled.agents() == before


def test_the_watch_updates_node_after_node_once_the_server_is_there(settled: Fleet):
    settled.deploy(stack="xingrin-server").exits(0)
    first, second = settled.nodes
    assert state(settled, first) == "outdated"
    before = settled.agents()
    code, told = watch_once(settled)
    assert told["nodes"][first]["outcome"] == "updated", told
    assert (code, settled.agents()[second]) == (2, before[second])
    code, told = watch_once(settled)
    assert (code, told["nodes"][second]["outcome"]) == (0, "updated"), told
    settled.runs(NEW)


def test_an_agent_replaced_by_hand_is_seen_and_put_right(settled: Fleet):
    node, other = settled.nodes
    image = f"{settled.lab.registry.address}/{settled.lab.registry.namespace}/xingrin-agent:{OLD}"
    own = dict(line.split("=", 1) for line in settled.inspect(node)["Config"]["Env"])
    # It claims to be the pinned version, which the server believes.
    settled.on(
        node,
        f"docker rm -f {AGENT} && docker run -d --name {AGENT} --restart always "
        f"-e SERVER_URL={own['SERVER_URL']} -e WORKER_ID={own['WORKER_ID']} -e IMAGE_TAG={NEW} "
        f"-v /proc:/host/proc:ro {image}",
    )
    settled.wait_for(lambda: settled.workers()[node]["status"] == "online", 30, "beats")
    found = states(settled)
    assert found[node]["state"] != "online"
    assert found[node]["differs"]
    assert found[other]["state"] == "online"


def test_somebody_else_s_container_is_named_and_left_alone(settled: Fleet):
    """The container of the test above carries no label of ours: it is not ours to remove."""
    node, other = settled.nodes
    before = settled.agents()
    ran = workers(settled, "reconcile", "--yes").exits(3)
    assert f"{node}: container {AGENT}: found " in ran.text
    assert "was not made by Stackpin" in ran.text
    assert f"docker rm --force {AGENT}" in ran.text
    assert settled.agents() == before
    settled.on(node, f"docker rm --force {AGENT}")
    assert states(settled)[node]["differs"]
    workers(settled, "reconcile", "--yes").exits(0)
    settled.runs(NEW)
    assert settled.agents()[other] == before[other]


def test_a_cut_off_node_is_offline_left_alone_and_taken_up_again(settled: Fleet):
    node = settled.nodes[0]
    before = settled.agents()
    settled.lab.cut(node)
    try:
        found = states(settled)
        assert found[node]["state"] == "offline"
        assert found[node]["reachable"] is False
        assert workers(settled, "reconcile", "--yes").code == 2
    finally:
        settled.lab.heal(node)
    settled.wait_for(lambda: state(settled, node) == "online", 60, "the node beats again")
    assert settled.agents() == before


def test_a_stopped_agent_is_offline_within_the_heartbeat_s_life(settled: Fleet):
    node = settled.nodes[0]
    settled.on(node, f"docker pause {AGENT}")
    begun = time.monotonic()
    try:
        settled.wait_for(lambda: state(settled, node) == "offline", 40, "the heartbeat ran out")
        assert time.monotonic() - begun < 40
    finally:
        settled.on(node, f"docker unpause {AGENT}")
    settled.wait_for(lambda: state(settled, node) == "online", 30, "it beats again")


@contextmanager
def watching(fleet: Fleet, *words: str, **data: object) -> Iterator[subprocess.Popen[str]]:
    state_file = fleet.folder / "watch.json"
    command = argv(
        fleet, "watch", "--json", "--interval", "2", "--state", str(state_file), *words, **data
    )
    watch = subprocess.Popen(
        command, cwd=fleet.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield watch
    finally:
        if watch.poll() is None:
            watch.send_signal(signal.SIGTERM)
            watch.communicate(timeout=240)


def test_a_watch_follows_a_new_pin_under_both_leases_and_ends_its_update_when_stopped(
    settled: Fleet, tmp_path: Path
):
    first, second = settled.nodes
    metrics = tmp_path / "stackpin.prom"
    redis = {"xingrin_lock_backend": "redis"}
    number = settled.workers()[first]["id"]
    ask = f"docker exec xingrin-redis-1 redis-cli ttl agent_update_lock:{number}"
    pin(settled, OLD)
    settled.deploy(stack="xingrin-server").exits(0)
    with watching(settled, "--metrics-file", str(metrics), **redis) as watch:
        settled.wait_for(lambda: int(settled.on("server", ask)) > 0, 60, "the lease in Redis")
        assert 0 < int(settled.on("server", ask)) <= 60
        second_watch = workers(
            settled, "watch", "--once", "--state", str(settled.folder / "watch.json")
        )
        assert "another watch" in second_watch.exits(3).text
        watch.send_signal(signal.SIGTERM)
        out, err = watch.communicate(timeout=240)
    assert watch.returncode == 0, err
    told = json.loads(out.splitlines()[-1])
    assert told["nodes"][first]["outcome"] == "updated", told
    assert "stopping after the update" in err
    assert settled.on("server", ask).strip() == "-2"  # given back
    assert settled.agent_digest(first) == settled.digest("agent", OLD)
    assert settled.agent_digest(second) == settled.digest("agent", NEW)
    text = metrics.read_text()
    assert 'stackpin_watch_up{inventory="fleet"} 0.0' in text
    assert (
        f'stackpin_worker_state{{inventory="fleet",node="{second}",state="outdated"}} 1.0' in text
    )


def test_a_lease_of_the_application_itself_is_respected(settled: Fleet):
    second = settled.nodes[1]
    number = settled.workers()[second]["id"]
    redis = "docker exec xingrin-redis-1 redis-cli"
    settled.on("server", f"{redis} set agent_update_lock:{number} 1 nx ex 60")
    before = settled.agents()
    code, told = watch_once(settled, xingrin_lock_backend="redis")
    assert (code, told["nodes"][second]["outcome"]) == (2, "held"), told
    assert settled.agents() == before
    assert settled.on("server", f"{redis} get agent_update_lock:{number}").strip() == "1"
    settled.on("server", f"{redis} del agent_update_lock:{number}")


def test_an_update_is_taken_back_when_the_application_takes_its_lease_over(settled: Fleet):
    second = settled.nodes[1]
    key = f"agent_update_lock:{settled.workers()[second]['id']}"
    redis = "docker exec xingrin-redis-1 redis-cli"
    slow = {**GATE, "min_healthy": 60.0, "timeout": 100.0}
    data = {"xingrin_lock_backend": "redis", "xingrin_gate": slow, "xingrin_guard_seconds": 150}
    with watching(settled, "--once", **data) as watch:
        settled.wait_for(
            lambda: int(settled.on("server", f"{redis} exists {key}")) > 0, 60, "the lease"
        )
        settled.on("server", f"{redis} set {key} 1 ex 120")
        out, err = watch.communicate(timeout=240)
    told = json.loads(out.splitlines()[-1])["nodes"][second]
    assert (watch.returncode, told["outcome"]) == (2, "held"), (told, err)
    assert f"{key} was taken over by somebody else" in told["lease_lost"]
    assert told["backoff_seconds"] == 0
    assert settled.on("server", f"{redis} get {key}").strip() == "1"
    assert settled.agent_digest(second) == settled.digest("agent", NEW)
    settled.on("server", f"{redis} del {key}")
    code, told = watch_once(settled, xingrin_lock_backend="redis")
    assert (code, told["nodes"][second]["outcome"]) == (0, "updated"), told
    settled.runs(OLD)


def test_remove_takes_what_is_ours_and_leaves_decoys_and_add_brings_it_back(settled: Fleet):
    node, other = settled.nodes
    before = settled.agents()
    image = settled.inspect(node)["Image"]
    decoys = {"xingrin-agent-of-somebody": "x", "docker-registry": "y", "xingrin-watchdog": "z"}
    for name in decoys:
        settled.on(node, f"docker run -d --name {name} --entrypoint sleep {image} 9999")
    settled.on(node, "docker volume create xingrin_postgres_data; mkdir -p /opt/xingrin/theirs; "
               "touch /opt/xingrin/theirs/file")  # fmt: skip
    assert workers(settled, "remove", node).code == 3  # nobody to ask
    ran = workers(settled, "remove", node, "--yes")
    assert ran.code == 0, ran.text
    assert f"forget worker {states_id(ran)}" in ran.text
    names = settled.on(node, "docker ps -a --format '{{.Names}}'").split()
    assert sorted(names) == sorted(decoys)
    assert "xingrin_postgres_data" in settled.on(node, "docker volume ls -q")
    settled.on(node, "test -e /opt/xingrin/theirs/file")
    settled.on(node, "test ! -e /etc/stackpin/xingrin-worker")
    assert node not in settled.workers()
    assert state(settled, node) == "pending"
    assert state(settled, other) == "online"
    # As before the node was declared: the server lets the other one in and nobody else.
    sources = "inet stackpin_xingrin_server sources4"
    known = settled.lab.host(other).address
    settled.on("server", f"nft flush set {sources}; nft add element {sources} '{{ {known} }}'")
    assert not settled.on(node, f"curl -sk -m 2 https://{settled.host.address}:8083/", check=False)
    workers(settled, "add", node, "--yes").exits(0)
    settled.runs(OLD)
    assert state(settled, node) == "online"
    assert settled.agents()[other] == before[other]
    settled.on(node, f"docker rm -f {' '.join(decoys)}; docker volume rm xingrin_postgres_data")


def states_id(ran: Ran) -> str:
    return ran.text.partition("forget worker ")[2].split()[0]


def test_remove_of_the_server_s_host_is_refused(settled: Fleet):
    before = settled.on("server", "docker ps -q")
    ran = workers(settled, "remove", "server", "--yes").exits(3)
    assert "shares its directory" in ran.text
    assert settled.on("server", "docker ps -q") == before


def test_add_wants_a_declared_node(settled: Fleet):
    ran = workers(settled, "add", "server", "--yes").exits(3)
    assert "in the group 'workers'" in ran.text


def test_a_version_whose_agent_crashes_leaves_the_old_agents_and_backs_off(settled: Fleet):
    bad = "v1.4.0"
    pin(settled, bad)
    settled.deploy(stack="xingrin-server").exits(0)
    code, told = watch_once(settled)
    first = settled.nodes[0]
    assert (code, told["nodes"][first]["outcome"]) == (4, "rolled-back"), told
    assert told["nodes"][first]["backoff_seconds"] > 0
    old = settled.digest("agent", OLD)
    assert {settled.agent_digest(node) for node in settled.nodes} == {old}
    _, told = watch_once(settled, "--limit", first)
    assert "backed off" in told["nodes"][first]["waiting"]
    settled.settle(OLD)
