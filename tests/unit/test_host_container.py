"""Slots that are containers: the driver on a pretended docker, killed at every step."""

from __future__ import annotations

import importlib
import inspect
import json
import os
from pathlib import Path
from typing import Any

import pytest

from stackpin.host import preflight_docker
from stackpin.host.drivers import Driver
from stackpin.host.errors import HostError
from stackpin.host.images import forget, repository
from stackpin.host.pull import credentials
from stackpin.host.system import Result
from tests.unit.fake_docker import NAME, STACK, DockerHost, digest


@pytest.fixture
def host(memory_path: Path, monkeypatch: pytest.MonkeyPatch) -> DockerHost:
    one = DockerHost(memory_path, monkeypatch)
    one.install()
    return one


@pytest.fixture
def ready(host: DockerHost) -> DockerHost:
    """A host that serves `old` and has `new`."""
    host.call("rollout", release=host.receive("old"), who="me")
    host.receive("new")
    return host


def test_container_is_made_as_declared(ready: DockerHost) -> None:
    made = next(argv for argv in ready.docker.calls if argv[1] == "create")
    line = " ".join(made)
    assert f"--name {NAME}.blue" in line and "--volume /a:/b" in line and "--env-file" in line
    assert "s3cret" not in line and "WORKER_ID" not in line
    assert ready.docker.inputs == ["IMAGE_TAG=x\nTOKEN=s3cret\nWORKER_ID=7\n"]
    assert ready.only("old")
    slot = ready.call("state")["slots"]["blue"]
    assert slot["digest"] == digest("old") and slot["release"] == "old"
    assert slot["image"] == f"reg/agent:old@{digest('old')}"
    assert ready.call("state")["slots"]["green"]["digest"] is None


def test_same_release_changes_nothing(ready: DockerHost) -> None:
    steps = ready.docker.born
    assert ready.call("rollout", release="old")["changed"] is False
    assert ready.docker.born == steps and ready.call("state")["live_changed"] == []


def test_changed_variable_of_the_host_makes_it_anew(ready: DockerHost) -> None:
    ready.worker_id(8)
    assert ready.call("state")["live_changed"] == ["env"]
    assert [f["code"] for f in ready.call("inspect")["findings"] if "env" in f["code"]]
    assert ready.call("rollout", release="old")["changed"] is True
    assert ready.only("old") and "WORKER_ID=8\n" in ready.docker.inputs[-1]


def test_a_removed_container_is_made_anew(ready: DockerHost) -> None:
    ready.docker.containers.clear()
    assert ready.call("state")["live_changed"] == ["container"]
    assert ready.call("rollout", release="old")["changed"] is True
    assert ready.only("old")


def test_switch_and_rollback_by_name(ready: DockerHost) -> None:
    ready.call("rollout", release="new")
    assert ready.only("new")
    ready.call("rollout", release="old")
    assert ready.only("old")


def test_the_old_one_gets_the_drain_time_to_end(ready: DockerHost) -> None:
    ready.install(drain_seconds=2.5)
    ready.call("rollout", release="new")
    stops = [argv for argv in ready.docker.calls if argv[1] == "stop"]
    assert stops and {argv[2] for argv in stops} == {"--time=3"}


def test_old_one_stays_until_retired(ready: DockerHost) -> None:
    token = ready.call("lock-acquire", owner="me", reason="x", ttl=60)["token"]
    ready.call("begin", run="r", release="new", lock_token=token)
    for stage in ("rehearse", "start", "gate"):
        ready.call(stage, run="r", lock_token=token)
    both = ready.docker.now()
    assert both == {
        NAME: ("running", "always", "old"), f"{NAME}.green": ("running", "no", "new"),
    }  # fmt: skip
    ready.call("switch", run="r", lock_token=token)
    assert ready.docker.now() == {
        NAME: ("running", "always", "new"), f"{NAME}.blue": ("exited", "no", "old"),
    }  # fmt: skip
    ready.call("abort", run="r", reason="no", lock_token=token)
    assert ready.only("old")


@pytest.mark.parametrize("overlap", [True, False])
def test_crashing_image_leaves_the_old_one(host: DockerHost, overlap: bool) -> None:
    host.install(overlap=overlap)
    host.call("rollout", release=host.receive("old"))
    host.docker.crashing.add("id-bad")
    host.receive("bad")
    with pytest.raises(HostError) as failed:
        host.call("rollout", release="bad")
    assert failed.value.kind == "gate" and "old serves" in failed.value.message
    assert failed.value.detail["log"] == ["err", "out"]
    assert host.only("old")


def test_an_old_agent_that_keeps_dying_is_no_proof(
    host: DockerHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.install(overlap=False)
    host.call("rollout", release=host.receive("old"))
    host.receive("new")
    host.docker.crashing.add("id-new")
    monkeypatch.setattr("stackpin.host.undo.PROOF_SECONDS", 0)
    monkeypatch.setattr("stackpin.host.undo.process_trouble", lambda _: "it was restarted")
    with pytest.raises(HostError) as failed:
        host.call("rollout", release="new")
    assert failed.value.kind == "broken"
    assert host.call("state")["run"]["proven"] is False


@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("after", ["recover", "boot"])
def test_killed_at_every_step(ready: DockerHost, overlap: bool, after: str) -> None:
    ready.install(overlap=overlap)
    want = {"old": "new", "new": "old"}
    live, ended = "old", 0
    # Each of the four cases has steps of its own, together all.
    first = 1 + 2 * overlap + (after == "boot")
    for step in range(first, 400, 4):
        if ready.killed_after(step, "rollout", release=want[live]):
            if overlap:
                states = [state for state, _, _ in ready.docker.now().values()]
                assert "running" in states, f"nothing serves after a kill at step {step}"
            if after == "boot":
                ready.restart()
            ready.call(after)
            now = ready.call("state")
            assert now["pending"] is None and now["run"]["stage"] in (
                "failed",
                "reverted",
                "retired",
            )
            assert now["live_release"] in want
            assert ready.only(now["live_release"]), (step, ready.docker.now())
            live = now["live_release"]
        else:
            ended += 1
            break
    assert ended == 1 and step > 30


@pytest.mark.parametrize("step", range(1, 60, 4))
def test_killed_going_back(ready: DockerHost, step: int) -> None:
    token = ready.call("lock-acquire", owner="me", reason="x", ttl=60)["token"]
    ready.call("begin", run="r", release="new", lock_token=token)
    for stage in ("rehearse", "start", "gate", "switch"):
        ready.call(stage, run="r", lock_token=token)
    ready.killed_after(step, "abort", run="r", reason="no", lock_token=token)
    ready.ahead = 1000.0
    ready.call("recover", lock_token=token)
    assert ready.only("old") and ready.call("state")["pending"] is None


def test_killed_first_install_leaves_nothing_or_everything(
    memory_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in range(1, 400, 7):
        host = DockerHost(memory_path / str(step), monkeypatch)
        host.install()
        host.receive("old")
        if not host.killed_after(step, "rollout", release="old"):
            return
        host.call("recover")
        live = host.call("state")["live_release"]
        assert host.only("old") if live == "old" else host.docker.now() == {}, step
        host.call("rollout", release="old")
        assert host.only("old")


def test_live_container_that_was_removed_comes_back_under_its_name(ready: DockerHost) -> None:
    ready.docker.containers.clear()
    ready.call("service", action="start")
    assert ready.only("old")


def test_live_container_that_was_renamed_is_made_anew(ready: DockerHost) -> None:
    ready.docker.containers[ready.docker.find(NAME)]["name"] = "other"
    assert ready.call("state")["live_changed"] == ["name"]
    assert ready.call("rollout", release="old")["changed"] is True
    assert ready.only("old")


def test_somebody_elses_container_is_not_touched(ready: DockerHost) -> None:
    ready.docker.containers.clear()
    ready.docker.containers["x"] = {
        "name": NAME, "labels": {}, "image": "other", "state": "running", "env": [], "exit": 0,
        "policy": "no", "pid": 3, "restarts": 0, "created": "1", "image_id": "y",
    }  # fmt: skip
    with pytest.raises(HostError, match="was not made by Stackpin") as failed:
        ready.call("rollout", release="new")
    assert "docker rm --force" in str(failed.value)
    assert ready.docker.now()[NAME] == ("running", "no", "other")
    codes = {finding["code"] for finding in ready.call("inspect")["findings"]}
    assert "container-unmanaged" in codes


def test_somebody_elses_container_is_seen_before_anything_is_begun(ready: DockerHost) -> None:
    def named() -> dict[str, Any]:
        found = {item.name: item for item in preflight_docker.look(stack, needs)}
        return found[f"container {NAME}"]._asdict()

    stack, needs = ready.install(), {"docker": True, "container": NAME}
    assert named()["ok"]
    ready.docker.containers[ready.docker.find(NAME)]["labels"].clear()
    answer = named()
    assert (answer["ok"], answer["severity"]) == (False, "fail")
    assert "was not made by Stackpin" in answer["measured"]
    assert f"docker rm --force {NAME}" in answer["remedy"]


@pytest.mark.parametrize(
    ("told", "meaning"),
    [
        ("Error response from daemon: manifest unknown: manifest unknown", "404"),
        ("Error: unauthorized: authentication required", "401"),
        ("Error: tls: failed to verify certificate: x509: unknown authority", "TLS"),
        ("write /var/lib/docker/tmp/x: no space left on device", "disk"),
        ("toomanyrequests: You have reached your pull rate limit", "429"),
        ("dial tcp 10.0.0.5:5000: connect: connection refused", "does not answer"),
        (f"reading sha256:404429{'a' * 58}: connection refused", "does not answer"),
    ],
)
def test_failed_pull_says_why(
    host: DockerHost, monkeypatch: pytest.MonkeyPatch, told: str, meaning: str
) -> None:
    monkeypatch.setattr("stackpin.host.images.PAUSE", 0)
    monkeypatch.setattr(host.docker, "pull", lambda *_: Result(1, "", told))
    ref = f"10.0.0.5:5000/a/b:v1@{digest('x')}"
    with pytest.raises(HostError, match=meaning) as failed:
        host.call("pull", images=[ref])
    assert failed.value.kind == "refused" and ref in str(failed.value)


def test_pull_names_the_tag_again(host: DockerHost) -> None:
    host.receive("new")
    ref = f"reg/agent:new@{digest('new')}"
    host.docker.images["other"] = {"reg/agent:new"}
    assert host.call("pull", images=[ref])["pulled"] == [ref]
    assert "reg/agent:new" in host.docker.images["id-new"]
    assert host.call("pull", images=[ref])["present"] == [ref]
    with pytest.raises(HostError, match="sha256"):
        host.call("pull", images=["reg/agent:new"])


def test_pull_puts_the_ca_where_docker_looks(host: DockerHost) -> None:
    host.call("pull", images=[], registry={"host": "10.0.0.5:5000", "ca": "PEM"})
    assert (host.root / "etc/docker/certs.d/10.0.0.5:5000/ca.crt").read_text() == "PEM"


def test_credentials_are_gone_afterwards() -> None:
    with credentials({"host": "docker.io", "username": "u", "password": "p"}) as folder:
        path = Path(folder) / "config.json"
        assert path.stat().st_mode & 0o777 == 0o600
        assert list(json.loads(path.read_text())["auths"]) == ["https://index.docker.io/v1/"]
    assert not path.parent.exists()


def test_credentials_of_a_killed_pull_go_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stackpin.host.pull.os.access", lambda *_: False)
    monkeypatch.setattr("stackpin.host.pull.tempfile.gettempdir", lambda: str(tmp_path))
    for name in ("stackpin-docker-99999999-x", f"stackpin-docker-{os.getpid()}-x", "other-1-x"):
        (tmp_path / name).mkdir()
    with credentials({"username": "u", "password": "p"}):
        pass
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["other-1-x", f"stackpin-docker-{os.getpid()}-x"]


def test_a_tag_that_means_another_image_now_stays(host: DockerHost) -> None:
    host.receive("old")
    ref = f"reg/agent:old@{digest('old')}"
    host.call("pull", images=[ref])
    host.docker.images["id-old"].discard("reg/agent:old")
    host.docker.images["other"] = {"reg/agent:old"}
    assert forget([ref]) == [f"reg/agent@{digest('old')}"]
    assert host.docker.images == {"other": {"reg/agent:old"}}


def test_daemon_that_is_down_is_named(ready: DockerHost) -> None:
    ready.docker.down = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock."
    with pytest.raises(HostError, match="systemctl start docker"):
        ready.call("rollout", release="new")
    assert ready.call("state")["slots"]["blue"]["active"] == "unknown"
    codes = [finding["code"] for finding in ready.call("inspect")["findings"]]
    assert "docker-not-answering" in codes


def test_receive_refuses_altered_text_and_unpinned_images(host: DockerHost) -> None:
    about = {"id": "r", "version": "r", "artifact_sha256": "0" * 64, "images": {}}
    with pytest.raises(HostError, match="altered on its way"):
        host.call("receive", release=about, env="", unit="{}")
    about["artifact_sha256"] = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    about["images"] = {"agent": "reg/agent:latest"}
    with pytest.raises(HostError, match="latest"):
        host.call("receive", release=about, env="", unit="{}")


def test_uninstall_lists_ours_alone(ready: DockerHost) -> None:
    ready.docker.containers["x"] = dict(
        ready.docker.containers["c0001"], name="decoy", labels={"stackpin.stack": "other"}
    )
    listed = ready.call("uninstall-list")["remove"]
    assert [item["container"] for item in listed if "container" in item] == [NAME]
    assert [item["image"] for item in listed if "image" in item] == [
        f"reg/agent:old@{digest('old')}"
    ]
    assert any(item.get("path", "").endswith(f"opt/{STACK}") for item in listed)


@pytest.mark.parametrize("kind", ["systemd", "container", "compose"])
def test_every_driver_offers_the_protocol(kind: str) -> None:
    module = importlib.import_module(f"stackpin.host.drivers.{kind}")
    for name, wanted in inspect.getmembers(Driver, inspect.isfunction):
        if not name.startswith("_"):
            asked = list(inspect.signature(wanted).parameters)[1:]
            assert list(inspect.signature(getattr(module, name)).parameters) == asked, name


def test_repository_of_a_reference() -> None:
    assert repository("10.0.0.5:5000/a/b:v1@sha256:x") == "10.0.0.5:5000/a/b"
    assert repository("10.0.0.5:5000/a/b") == "10.0.0.5:5000/a/b"
    assert repository("redis:7-alpine") == "redis"
