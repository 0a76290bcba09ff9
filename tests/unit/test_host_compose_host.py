"""Compose services on the host's network: stacks that share a project and switch as units do."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from stackpin.host import runs, slots
from stackpin.host.errors import HostError
from stackpin.host.stack import Stack
from tests.unit.fake_compose import DATABASE, PORTS, ComposeHost

UPDATER = "com.centurylinklabs.watchtower"


@pytest.fixture
def host(memory_path: Path, monkeypatch: pytest.MonkeyPatch) -> ComposeHost:
    made = ComposeHost(memory_path, monkeypatch)
    database = memory_path / DATABASE[1:]
    database.parent.mkdir(parents=True)
    with sqlite3.connect(database) as db:
        db.execute("CREATE TABLE t(x)")
    for service in PORTS:
        made.deploy(service)
    return made


def names(host: ComposeHost) -> dict[str, tuple[str, str]]:
    found = host.docker.now().items()
    return {name.removeprefix("infracore-"): state[:2] for name, state in found}


def codes(host: ComposeHost, stack: str = "infracore-console") -> list[str]:
    found = [item["code"] for item in host.call("inspect", stack)["findings"]]
    return [code for code in found if code != "mode-wrong"]


def test_services_of_one_project_are_switched_one_by_one(host: ComposeHost) -> None:
    host.rollout("console", "v1")
    host.rollout("snap", "v1")
    assert host.rollout("console", "v2")["slot"] == "green"

    assert names(host) == {
        "console-green-1": ("running", "always"),
        "snap-blue-1": ("running", "always"),
    }
    assert codes(host) == codes(host, "infracore-snap") == []
    calls = [" ".join(call) for call in host.docker.calls if "up" in call]
    assert all("--project-name=infracore" in call and "--no-deps" in call for call in calls)


def test_a_slot_gets_its_own_variables_exactly(host: ComposeHost) -> None:
    host.rollout("console", "v1")
    (item,) = host.docker.containers.values()
    assert {"PORT=18282", "A=a$$b"} <= set(item["env"])  # compose reads $$ as $
    assert item["labels"]["stackpin.slot"] == "blue"


def test_both_run_until_the_old_one_has_drained(host: ComposeHost) -> None:
    host.rollout("console", "v1")
    host.send("console", "v2")
    host.call("begin", run="r", release="v2", mode="self")
    for stage in ("rehearse", "start", "gate", "switch"):
        host.call(stage, run="r")
    assert names(host) == {
        "console-blue-1": ("running", "no"),
        "console-green-1": ("running", "always"),
    }
    host.call("abort", run="r", reason="test")
    assert names(host) == {"console-blue-1": ("running", "always")}


def test_one_at_a_time_on_one_port(host: ComposeHost) -> None:
    host.rollout("orchestrator", "v1")
    done = host.rollout("orchestrator", "v2")
    assert done["stages"]["start"]["gap"] is not None
    assert names(host) == {"orchestrator-green-1": ("running", "always")}
    host.sick.add("v3")
    with pytest.raises(HostError, match="v2 serves and is healthy"):
        host.rollout("orchestrator", "v3", rehearse=False)
    assert names(host) == {"orchestrator-green-1": ("running", "always")}


@pytest.mark.parametrize("service", ["console", "orchestrator"])
def test_killed_at_every_step(
    service: str, host: ComposeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = f"infracore-{service}"
    host.rollout(service, "v0")
    for step in range(1, 200, 7 if service == "console" else 5):
        release = host.send(service, f"v{step}")
        killed = host.killed_after(step, "rollout", stack=stack, release=release, run=release)
        host.restart()
        host.call("boot", stack)
        host.call("recover", stack)
        assert runs.ended(runs.load(Stack.load(stack)))
        live = slots.live_slot(Stack.load(stack))
        running = {name for name, state in names(host).items() if state[0] == "running"}
        assert running == {f"{service}-{live}-1"}, step
        assert names(host)[f"{service}-{live}-1"] == ("running", "always")
        if not killed:
            break
    assert step > 20


def test_a_rehearsal_runs_on_a_copy_only_root_can_reach(
    host: ComposeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = Stack.load("infracore-console")
    seen = []
    start = host.docker.start

    def look(words: list[str], data: object) -> object:
        home = stack.rehearsal_dir
        copy = home / "console.db"
        if copy.exists():  # not so when the slot itself starts
            seen.append([oct(p.stat().st_mode & 0o777) for p in (home.parent, home, copy)])
        return start(words, data)

    monkeypatch.setattr(host.docker, "start", look)
    host.docker.mounts = [{"Source": "/var/lib/rehearsals/console/rehearsal", "RW": True}]
    done = host.rollout("console", "v1")["stages"]["rehearse"]

    assert seen == [["0o750", "0o777", "0o666"]]
    assert done["copied"]["database"] and done["pulled"]
    assert host.rehearsed[0]["PORT"] == "18284"
    assert not list(stack.rehearsal_dir.iterdir())
    assert names(host) == {"console-blue-1": ("running", "always")}


@pytest.mark.parametrize(
    "source", ["/var/lib/docker/volumes/infracore_data/_data", "/var/lib", DATABASE]
)
def test_a_rehearsal_that_could_write_live_data_is_refused(host: ComposeHost, source: str) -> None:
    host.docker.mounts = [{"Source": source, "RW": True}]
    with pytest.raises(HostError, match="where the live database is"):
        host.rollout("console", "v1")
    assert names(host) == {}
    host.docker.mounts = [{"Source": source, "RW": False}]
    host.rollout("console", "v1")


def test_a_sick_rehearsal_leaves_the_live_one_alone(host: ComposeHost) -> None:
    host.rollout("console", "v1")
    host.sick.add("v2")
    with pytest.raises(HostError, match="v1 serves and is healthy") as caught:
        host.rollout("console", "v2")
    assert caught.value.detail["stage"] == "rehearse"
    assert names(host) == {"console-blue-1": ("running", "always")}


def test_a_file_without_a_rehearsal_is_pulled_only(host: ComposeHost) -> None:
    host.send("console", "v1", rehearsal=False)
    done = host.call("rollout", release="v1")["stages"]["rehearse"]
    assert set(done) == {"skipped", "pulled"}
    assert host.rehearsed == []


def test_a_taken_port_and_a_foreign_container_are_refused(host: ComposeHost) -> None:
    host.foreign.add(18282)
    with pytest.raises(HostError, match="port 18282: taken by"):
        host.rollout("console", "v1")
    host.foreign.clear()
    host.rollout("snap", "v1")
    host.rollout("console", "v1")
    next(iter(host.docker.containers.values()))["labels"].pop("stackpin.stack")
    with pytest.raises(HostError, match=r"infracore-snap-blue-1, not made by Stackpin"):
        host.rollout("console", "v2")


def test_what_updates_behind_our_back_is_drift(host: ComposeHost) -> None:
    host.rollout("console", "v1")
    host.rollout("snap", "v1")
    console, snap = host.docker.containers.values()
    host.docker.updaters = (
        "wt\tcontainrrr/watchtower:latest\t\nmine\treg/renamed:1\ttrue\nui\treg/portainer:1\t\n"
    )
    console["labels"][f"{UPDATER}.enable"] = "true"
    assert codes(host) == ["container-unmanaged", "auto-updater", "auto-updater"]
    console["labels"][f"{UPDATER}.enable"] = "false"
    host.docker.updaters = ""
    snap["labels"].pop("stackpin.stack")
    assert codes(host) == ["container-unmanaged"]


def test_stop_and_start_bring_back_the_restart_policy(host: ComposeHost) -> None:
    host.rollout("orchestrator", "v1")
    for action in ("stop", "start", "restart"):
        host.call("service", "infracore-orchestrator", action=action)
    assert names(host) == {"orchestrator-blue-1": ("running", "always")}
