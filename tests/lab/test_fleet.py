"""One server, six nodes, one tag: installed, updated, refused, taken back. In file order."""

from __future__ import annotations

import json
import time

import pytest
from fleet_kit import AGENT, INVENTORY, NEW, OLD, Fleet

from stackpin import lockfile
from stackpin.lab.prober import probing
from stackpin.lab.registry import faults

pytestmark = pytest.mark.timeout(900)

NODES = 6


def test_a_tag_without_digests_is_refused(fleet: Fleet):
    fleet.lock_path.unlink(missing_ok=True)
    ran = fleet.deploy().exits(3)
    assert "stackpin pin" in ran.text


def test_pin_locks_every_image_by_digest(fleet: Fleet):
    fleet.stackpin("pin", "xingrin", "--version", OLD).exits(0)
    locked = lockfile.read(fleet.lock_path).version("xingrin", OLD)
    assert locked
    names = {ref.rpartition("/")[2].partition(":")[0] for ref in locked.images}
    own = {f"xingrin-{name}" for name in ("server", "frontend", "nginx", "worker", "agent")}
    assert names == own | {"postgres", "redis"}


def test_first_deploy_from_bare_docker_hosts(fleet: Fleet):
    assert fleet.stackpin("plan", "xingrin").code == 2
    ran = fleet.deploy()
    assert ran.code == 0, ran.text
    fleet.runs(OLD)
    online = {name: row["status"] for name, row in fleet.workers().items()}
    assert online == dict.fromkeys(fleet.nodes, "online")


def test_a_second_deploy_changes_nothing(fleet: Fleet):
    before = fleet.agents()
    ran = fleet.deploy("--json").exits(0)
    assert ran.json["in_sync"] is True
    assert fleet.agents() == before
    fleet.stackpin("drift", "xingrin").exits(0)


def test_agents_run_with_exactly_the_contract_s_flags(fleet: Fleet):
    rows = fleet.workers()
    for node in fleet.nodes:
        found = fleet.inspect(node)
        assert found["HostConfig"]["RestartPolicy"]["Name"] == "always"
        own = dict(entry.split("=", 1) for entry in found["Config"]["Env"])
        given = {name: own[name] for name in own if name not in {"PATH", "LANG"}}
        assert given == {
            "SERVER_URL": f"https://{fleet.host.address}:8083",
            "WORKER_ID": str(rows[node]["id"]),
            "IMAGE_TAG": OLD,
        }
        mounts = [(m["Source"], m["Destination"], m["RW"]) for m in found["Mounts"]]
        assert mounts == [("/proc", "/host/proc", False)]
        assert not found["HostConfig"]["PortBindings"]
        assert not found["HostConfig"]["Privileged"]


def test_the_worker_image_is_there_by_tag_so_that_tasks_pull_nothing(fleet: Fleet):
    for node in fleet.nodes:
        image = next(
            line
            for line in fleet.on(node, "docker images --format '{{.Repository}}:{{.Tag}}'").split()
            if line.endswith(f"/xingrin-worker:{OLD}")
        )
        # As the product's task distributor starts it.
        fleet.on(node, f"docker run --rm --pull=never {image} true")


def test_update_in_batches_and_back(fleet: Fleet):
    """v1.1.0 -> v1.2.0 -> v1.1.0: every node by digest, never more than one batch away."""
    for version, command in ((NEW, "update"), (OLD, "rollback")):
        begun = time.time()
        with probing(fleet.host.address, 8083, "/api/") as probed:
            if command == "update":
                ran = fleet.update(version, "--batch", "1,50%")
            else:
                ran = fleet.stackpin("rollback", "xingrin", "--yes", "--batch", "1,50%")
        assert ran.code == 0, ran.text
        fleet.runs(version)
        assert fleet.pinned() == version
        most, changed = fleet.down_at_once(begun, time.time())
        assert changed == len(fleet.nodes)
        assert most <= (len(fleet.nodes) + 1) // 2
        assert probed.good > 50
        # nginx itself is replaced when its image changes; nobody else is waited for.
        assert probed.longest_gap < 5, probed
    fleet.stackpin("drift", "xingrin").exits(0)


def test_a_server_that_never_becomes_healthy_is_taken_back(fleet: Fleet):
    agents = fleet.agents()
    with probing(fleet.host.address, 8083, "/api/") as probed:
        ran = fleet.update("v1.3.0").exits(4)
    assert "500" in ran.text
    assert fleet.pinned() == OLD
    fleet.runs(OLD)
    assert fleet.agents() == agents, "no node was touched"
    assert probed.failures == [], "the old server was never away"


def test_an_agent_that_crashes_takes_the_whole_fleet_back(fleet: Fleet):
    ran = fleet.update("v1.4.0", "--batch", "1,50%").exits(4)
    assert fleet.pinned() == OLD
    fleet.runs(OLD)
    assert "node1" in ran.text
    online = {name: row["status"] for name, row in fleet.workers().items()}
    assert online == dict.fromkeys(fleet.nodes, "online")


def test_a_release_with_an_image_missing_is_refused(fleet: Fleet):
    before = fleet.agents(), fleet.lock_path.read_text(), fleet.pins.read_text()
    ran = fleet.update("v1.5.0").exits(3)
    assert "xingrin-frontend" in ran.text
    assert (fleet.agents(), fleet.lock_path.read_text(), fleet.pins.read_text()) == before


@pytest.mark.parametrize(
    ("fault", "why"),
    [("down", "registry"), ("wrong_certificate", "certificate"), ("refuse_login", "401")],
)
def test_a_registry_in_trouble_refuses_an_update(fleet: Fleet, fault: str, why: str):
    before = fleet.agents(), fleet.pins.read_text()
    getattr(faults, fault)(fleet.lab)
    try:
        ran = fleet.update(NEW).exits(3)
    finally:
        faults.heal(fleet.lab)
    assert fleet.lab.registry.address in ran.text
    assert why in ran.text.lower()
    assert "Traceback" not in ran.text
    assert (fleet.agents(), fleet.pins.read_text()) == before


def test_a_slow_registry_delays_but_does_not_break(fleet: Fleet):
    faults.slow(fleet.lab, 0.5)
    try:
        ran = fleet.stackpin("versions", "xingrin")
    finally:
        faults.heal(fleet.lab)
    assert ran.code == 0, ran.text
    assert "newest: v1.6.0" in ran.text


def test_a_downgrade_latest_and_placeholders_are_refused(fleet: Fleet):
    pins = fleet.pins.read_text()
    for version in ("v1.0.0", "latest", "__WILL_BE_SET_BY_INSTALLER__", "1.2.0", "v1.2"):
        ran = fleet.update(version).exits(3)
        assert version in ran.text
    fleet.update("v1.2.0-dev.1", stackpin_production=True).exits(3)
    assert fleet.pins.read_text() == pins


def test_workers_are_listed_with_what_they_run(fleet: Fleet):
    ran = fleet.program([*fleet.argv("workers list", "xingrin", "--json")[:3], INVENTORY, "--json"])
    document = json.loads(ran.out)
    states = {
        row["name"]: row["state"] for row in document["workers"] if row["name"] in fleet.nodes
    }
    assert states == dict.fromkeys(fleet.nodes, "online"), ran.out


def test_a_tag_pushed_again_is_drift_and_refused(fleet: Fleet):
    agents = fleet.agents()
    fleet.lab.registry.move_tag(AGENT, OLD)
    ran = fleet.stackpin("drift", "xingrin").exits(2)
    assert "xingrin-agent" in ran.text
    assert "node1" in ran.text
    refused = fleet.update(OLD, "--allow-downgrade").exits(3)
    assert "pushed again" in refused.text
    assert fleet.agents() == agents, "what runs is still what was locked"
    fleet.lab.registry.push([OLD])  # the tag names its first content again
    fleet.stackpin("drift", "xingrin").exits(0)
