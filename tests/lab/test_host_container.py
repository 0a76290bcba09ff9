"""Containers as slots, on a real docker: switch, gate, guard, kill -9 at each docker command."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stackpin.care import follow
from stackpin.lab import Lab
from tests.lab.container_kit import NAME, PROGRAM, SECRET, STACK, FailedError, Node

AT_ONCE = {"settle": 0, "min_healthy": 0.2, "interval": 0.1, "consecutive": 1, "timeout": 20.0}


@pytest.fixture(scope="module")
def node(lab: Lab) -> Iterator[Node]:
    """One docker host; tests go on from what the one before left live."""
    lab.up(names=["box"], docker=True)
    one = Node(lab, lab.reset("box"))
    one.install()
    yield one
    lab.down(["box"])


def base(node: Node, version: str = "v1.1.0") -> None:
    """Make `version` live and no run open, whatever was before."""
    node.sh("rm -f /run/die /run/died")
    node.call("recover")
    node.rollout(version)
    assert node.only(version)


def test_first_install_and_no_op(node: Node) -> None:
    told = node.rollout("v1.1.0")
    assert told["changed"] and told["stages"]["rehearse"]["pulled"]["pulled"]
    assert node.only("v1.1.0")
    env = json.loads(node.sh(f"docker inspect -f '{{{{json .Config.Env}}}}' {NAME}"))
    assert {"WORKER_ID=7", "IMAGE_TAG=v1.1.0", f"TOKEN={SECRET}"} <= set(env)
    assert not any(item.startswith("STACKPIN") for item in env)
    before = node.sh(f"docker inspect -f '{{{{.Id}}}} {{{{.State.StartedAt}}}}' {NAME}")
    assert node.rollout("v1.1.0")["changed"] is False
    assert node.sh(f"docker inspect -f '{{{{.Id}}}} {{{{.State.StartedAt}}}}' {NAME}") == before
    state = node.call("state")
    live = state["slots"][state["live_slot"]]
    assert live["digest"] == node.digests["v1.1.0"] and live["active"] == "active"
    assert state["live_changed"] == [] and state["live_modified"] is False
    assert node.call("verify")["passed"]
    assert node.call("inspect")["findings"] == []


def test_switch_and_back(node: Node) -> None:
    base(node)
    assert node.rollout("v1.2.0")["stages"]["switch"]["seconds"] > 0
    assert node.only("v1.2.0")
    options = {"slot": None, "since": "10 min ago", "lines": 3, "follow": False}
    told = node.sh(
        f"python3 - {PROGRAM} {STACK} '{json.dumps(options)}'", Path(follow.__file__).read_bytes()
    )
    assert len(told.splitlines()) == 3 and "beat 7" in told
    assert node.rollout("v1.1.0")["changed"]
    assert node.only("v1.1.0")


def test_crashing_image_never_replaces_the_old(node: Node) -> None:
    base(node)
    before = node.sh(f"docker inspect -f '{{{{.State.StartedAt}}}}' {NAME}")
    with pytest.raises(FailedError) as failed:
        node.rollout("v1.4.0")
    assert failed.value.code == 4 and failed.value.error["detail"]["stage"] == "gate"
    assert any("no agent here" in line for line in failed.value.error["detail"]["log"])
    assert SECRET not in json.dumps(failed.value.error)
    assert node.only("v1.1.0")
    assert node.sh(f"docker inspect -f '{{{{.State.StartedAt}}}}' {NAME}") == before


def test_changed_worker_id_makes_the_container_anew(node: Node) -> None:
    base(node)
    node.worker_id(8)
    assert node.call("state")["live_changed"] == ["env"]
    codes = [item["code"] for item in node.call("inspect")["findings"]]
    assert codes == ["env-changed"]
    assert node.rollout("v1.1.0")["changed"] is True
    assert node.only("v1.1.0")
    assert "beat 8" in node.sh(f"docker logs {NAME}")
    assert node.call("state")["live_changed"] == []


@pytest.mark.parametrize("overlap", [True, False])
def test_killed_before_each_docker_command(node: Node, overlap: bool) -> None:
    node.configure(overlap=overlap, gate=AT_ONCE, heartbeat_seconds=0)
    base(node, "v1.2.0")  # its image is here: each try below takes the same steps
    base(node)
    died, live, other = [], "v1.1.0", "v1.2.0"
    releases = {version: node.receive(version) for version in (live, other)}
    for step in range(1, 20):
        node.sh(f"echo {step} > /run/die; rm -f /run/died")
        try:
            node.call("rollout", release=releases[other], who="test")
        except AssertionError:
            died.append(node.sh("cat /run/died").split()[0])
            running = [row for row in node.containers().values() if row[0] == "running"]
            assert running or not overlap, f"nothing serves after a kill at {died}"
            node.call("recover")
            state = node.call("state")
            assert state["run"]["stage"] in ("failed", "reverted", "retired")
            assert state["pending"] is None
            if state["run"]["stage"] == "retired":  # killed after it was confirmed
                live, other = other, live
            assert node.only(live), (died, node.containers())
        else:
            assert node.only(other)
            break
    node.configure()
    node.sh("rm -f /run/die /run/died")
    assert {"create", "start", "rename", "update", "stop", "rm"} <= set(died), died


def test_guard_takes_an_unconfirmed_switch_back(node: Node) -> None:
    base(node)
    node.configure(guard_seconds=6)
    release = node.receive("v1.2.0")
    token = node.call("lock-acquire", owner="test", reason="test", ttl=60)["token"]
    node.call("begin", run="r1", release=release, mode="operator", who="t", lock_token=token)
    for stage in ("rehearse", "start", "gate", "switch"):
        node.call(stage, run="r1", lock_token=token)
    assert node.containers()[NAME][2] == "v1.2.0"
    deadline = time.monotonic() + 40
    while node.call("state")["run"]["stage"] != "reverted":
        assert time.monotonic() < deadline
        time.sleep(1)
    assert node.only("v1.1.0")
    node.call("lock-release", token=token)
    node.configure()


def test_restart_of_the_host_mid_run_goes_back(node: Node) -> None:
    base(node)
    node.sh(
        "cat > /etc/systemd/system/stackpin-boot@.service && "
        f"systemctl enable -q stackpin-boot@{STACK}.service",
        b"[Unit]\nAfter=docker.service\n[Service]\nType=oneshot\nRestart=on-failure\nRestartSec=2\n"
        b"ExecStart=/usr/bin/python3 /usr/local/lib/stackpin/host.pyz boot %i\n"
        b"[Install]\nWantedBy=multi-user.target\n",
    )
    release = node.receive("v1.2.0")
    token = node.call("lock-acquire", owner="test", reason="test", ttl=600)["token"]
    node.call("begin", run="r2", release=release, mode="operator", who="t", lock_token=token)
    for stage in ("rehearse", "start", "gate", "switch"):
        node.call(stage, run="r2", lock_token=token)
    node.lab.kill(node.host.name)
    node.lab.start(node.host.name)
    deadline = time.monotonic() + 60
    while node.call("state")["run"]["stage"] != "reverted":
        assert time.monotonic() < deadline
        time.sleep(1)
    assert node.only("v1.1.0")
    node.call("lock-release", token=token)


def test_foreign_container_with_our_name_is_refused(node: Node) -> None:
    node.call("recover")
    ref = f"localhost:5000/lab/agent@{node.digests['v1.1.0']}"
    node.sh(f"docker rm -f {NAME} >/dev/null; docker run -d --name {NAME} {ref} >/dev/null")
    codes = {item["code"] for item in node.call("inspect")["findings"]}
    assert "container-unmanaged" in codes
    with pytest.raises(FailedError) as failed:
        node.rollout("v1.2.0")
    assert "was not made by Stackpin" in str(failed.value)
    node.sh(f"docker rm -f {NAME}")
    base(node)


def test_missing_image_and_daemon_down_are_clear(node: Node) -> None:
    base(node)
    node.serve_images()
    node.digests["v9.9.9"] = "sha256:" + "ab" * 32
    with pytest.raises(FailedError) as failed:
        node.rollout("v9.9.9")
    assert "404" in str(failed.value) and node.only("v1.1.0")
    node.sh("systemctl stop docker.socket docker")
    try:
        with pytest.raises(FailedError) as failed:
            node.rollout("v1.2.0")
        assert "daemon does not answer" in str(failed.value)
    finally:
        node.sh("systemctl start docker")
    node.call("recover")
    assert node.only("v1.1.0")


def test_uninstall_leaves_foreign_containers(node: Node) -> None:
    base(node)
    ref = f"localhost:5000/lab/agent@{node.digests['v1.1.0']}"
    node.sh(f"docker run -d --name xingrin-decoy {ref} >/dev/null")
    listed = node.call("uninstall-list")
    assert [item["container"] for item in listed["remove"] if "container" in item] == [NAME]
    node.call("uninstall", expect=listed["sha256"], who="test")
    assert list(node.containers()) == ["xingrin-decoy"]
    node.sh("docker rm -f xingrin-decoy")
