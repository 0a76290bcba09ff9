"""What a pin asks the registry first, what it locks, and what makes it refuse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fake_registry import FakeRegistry, serving

from stackpin import secrets
from stackpin.care.fleet import Answers
from stackpin.care.versions import Running, known, pinned_stacks, running
from stackpin.config.load import load
from stackpin.config.stacks import stack
from stackpin.config.xingrin import XingrinServer, XingrinWorker
from stackpin.config.xingrin_images import ROLES
from stackpin.drift.moved import moved_tags
from stackpin.errors import Refused
from stackpin.lockfile import Lock, write
from stackpin.pins import Pin
from stackpin.registry.errors import RegistryUnreachable, TagMissing, Unauthorized
from stackpin.registry.matrix import available, newest
from stackpin.rollout.locking import TagMoved, locked

PASSWORD = "hush-hush-very"


@dataclass
class Fleet:
    """A registry with some versions, and settings that use it."""

    registry: FakeRegistry
    folder: Path

    def push(self, version: str, *, without: str = "", content: str = "") -> None:
        for role in ROLES:
            if role != without:
                self.registry.push(f"team/xingrin-{role}", version, f"{role}{version}{content}")

    def settings(self, version: str, model: Any = XingrinServer, **more: Any) -> Any:
        here = self.registry.address
        values = {
            "version": version,
            "lock_file": "prod.lock.toml",
            "registry": here,
            "namespace": "team",
            "registry_ca": str(self.folder / "registry/ca.crt"),
            "registry_username": "lab",
            "registry_password": "env:PINS_PASSWORD",
            "redis_image": f"{here}/team/redis:8",
            "postgres_image": f"{here}/team/postgres:17",
            "public_host": "10.0.0.9",
            **more,
        }
        data = {f"xingrin_{name}": value for name, value in values.items()}
        return load(model, "xingrin_", data, "server")

    @property
    def lock(self) -> Lock:
        return Lock(self.folder / "prod.lock.toml")

    def locked(self, version: str, lock: Lock | None = None, **options: Any) -> Lock:
        options = {"pinned": version, **options}
        said: list[str] = options.pop("said", [])
        settings = [self.settings(version), self.settings(version, XingrinWorker)]
        return locked(settings, lock or self.lock, self.folder, said.append, **options)

    def ref(self, role: str, tag: str) -> str:
        return f"{self.registry.address}/team/{role}:{tag}"


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    monkeypatch.setattr("stackpin.registry.transport._pause", lambda _state: 0.01)
    monkeypatch.setenv("PINS_PASSWORD", PASSWORD)
    secrets.forget()
    with serving(tmp_path / "registry") as registry:
        registry.login = ("lab", PASSWORD)
        made = Fleet(registry, tmp_path)
        for version in ("v1.1.0", "v1.2.0"):
            made.push(version)
        registry.push("team/redis", "8", "redis")
        registry.push("team/postgres", "17", "postgres")
        yield made
    secrets.forget()


def test_every_image_is_locked(fleet: Fleet) -> None:
    lock = fleet.locked("v1.2.0")
    found = lock.version("xingrin", "v1.2.0")
    assert found is not None
    assert dict(found.images) == {
        f"{fleet.registry.address}/{name}:{tag}": held[1]
        for name, tag in (
            *((f"team/xingrin-{role}", "v1.2.0") for role in ROLES),
            ("team/redis", "8"),
            ("team/postgres", "17"),
        )
        for held in [(None, _digest(fleet.registry, name, tag))]
    }
    assert fleet.locked("v1.2.0", lock) == lock


def _digest(registry: FakeRegistry, name: str, tag: str) -> str:
    body = registry.manifests[name][tag]
    return next(
        key for key, held in registry.manifests[name].items() if held is body and key != tag
    )


def test_one_missing_refuses_and_is_named(fleet: Fleet) -> None:
    fleet.push("v1.5.0", without="frontend")
    with pytest.raises(TagMissing, match=r"team/xingrin-frontend:v1\.5\.0"):
        fleet.locked("v1.5.0", pinned="v1.2.0")
    with pytest.raises(TagMissing) as caught:
        fleet.locked("v9.0.0", pinned="v1.2.0")
    assert all(f"xingrin-{role}:v9.0.0" in str(caught.value) for role in ROLES)


@pytest.mark.parametrize("pinned", ["v1.1.0", "v1.2.0"])
def test_a_moved_tag_is_refused(fleet: Fleet, pinned: str) -> None:
    lock = fleet.locked("v1.2.0")
    fleet.registry.push("team/xingrin-agent", "v1.2.0", "something else")
    with pytest.raises(TagMoved) as caught:
        fleet.locked("v1.2.0", lock, pinned=pinned)
    ref = fleet.ref("xingrin-agent", "v1.2.0")
    assert list(caught.value.moved) == [ref]
    assert 'remove [xingrin."v1.2.0"]' in str(caught.value)
    assert lock.digest("xingrin", "v1.2.0", ref) in str(caught.value)


def test_base_images_stay_until_a_refresh(fleet: Fleet) -> None:
    first = fleet.locked("v1.1.0")
    ref = fleet.ref("redis", "8")
    was = first.digest("xingrin", "v1.1.0", ref)
    new = fleet.registry.push("team/redis", "8", "newer")
    second = fleet.locked("v1.2.0", first, pinned="v1.1.0")
    assert second.digest("xingrin", "v1.2.0", ref) == was
    assert fleet.locked("v1.2.0", second).digest("xingrin", "v1.2.0", ref) == was
    third = fleet.locked("v1.2.0", second, refresh=True)
    assert third.digest("xingrin", "v1.2.0", ref) == new
    del fleet.registry.manifests["team/redis"][was]
    said: list[str] = []
    gone = fleet.locked("v1.2.0", second, said=said)
    assert gone.digest("xingrin", "v1.2.0", ref) == new
    assert any("gone from the registry" in line for line in said)


def test_a_registry_that_is_down(fleet: Fleet) -> None:
    lock = fleet.locked("v1.2.0")
    fleet.registry.faults = [(503, {})] * 1000
    said: list[str] = []
    assert fleet.locked("v1.2.0", lock, said=said) == lock  # the pin itself, all of it locked
    assert any("locked digests are used" in line for line in said)
    with pytest.raises(RegistryUnreachable):
        fleet.locked("v1.1.0", lock, pinned="v1.2.0")
    with pytest.raises(RegistryUnreachable):
        fleet.locked("v1.1.0", lock)


def test_a_wrong_password_is_not_told(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINS_PASSWORD", "wrong-wrong-wrong")
    with pytest.raises(Unauthorized) as caught:
        fleet.locked("v1.2.0")
    assert "wrong-wrong" not in str(caught.value)
    secrets.forget()
    monkeypatch.delenv("PINS_PASSWORD")
    with pytest.raises(Refused, match="PINS_PASSWORD"):
        fleet.locked("v1.2.0")


def test_two_versions_at_once_are_refused(fleet: Fleet) -> None:
    settings = [fleet.settings("v1.1.0"), fleet.settings("v1.2.0", XingrinWorker)]
    with pytest.raises(Refused, match=r"v1\.1\.0, v1\.2\.0"):
        locked(settings, fleet.lock, fleet.folder, print, pinned="v1.1.0")


def test_newest(fleet: Fleet) -> None:
    fleet.push("v1.10.0")
    fleet.push("v1.11.0", without="worker")
    fleet.push("v1.12.0-rc.1")
    fleet.push("latest")
    fleet.push("v1.3.0-dev")
    one = fleet.settings("v1.1.0")
    expected = ["v1.12.0-rc.1", "v1.10.0", "v1.3.0-dev", "v1.2.0", "v1.1.0"]
    assert available(one, fleet.folder) == expected
    assert newest(one, fleet.folder) == "v1.10.0"
    assert available(fleet.settings("v1.1.0", dev=True), fleet.folder) == ["v1.3.0"]


def test_drift_of_tags(fleet: Fleet) -> None:
    write(fleet.lock.path, fleet.locked("v1.2.0"))
    settings = {
        "server": {"xingrin-server": fleet.settings("v1.2.0")},
        "node1": {"xingrin-worker": fleet.settings("v1.2.0", XingrinWorker)},
        "other": {"crm": object()},
    }
    assert not moved_tags(settings, fleet.folder).findings
    fleet.registry.push("team/redis", "8", "newer")  # base tags may move
    agent = fleet.registry.push("team/xingrin-agent", "v1.2.0", "something else")
    del fleet.registry.manifests["team/xingrin-nginx"]["v1.2.0"]
    moved = moved_tags(settings, fleet.folder)
    assert set(moved.findings) == {"server", "node1"}
    assert [one["code"] for one in moved.findings["node1"]] == ["tag-moved"]
    assert moved.findings["node1"][0]["found"] == agent
    assert [one["found"] for one in moved.findings["server"]] == [agent, "no such tag"]
    fleet.registry.faults = [(503, {})] * 1000
    silent = moved_tags(settings, fleet.folder)
    assert not silent.findings
    assert any("not compared" in note for note in silent.notes)
    fleet.lock.path.unlink()
    assert any("stackpin pin" in note for note in moved_tags(settings, fleet.folder).notes)


def test_versions(fleet: Fleet) -> None:
    fleet.push("v1.10.0")
    fleet.push("v1.11.0", without="worker")
    lock = fleet.locked("v1.1.0")
    write(fleet.lock.path, lock)
    pin = Pin(Path("prod.py"), "xingrin_version", "v1.1.0", 1)
    report = known(stack("xingrin"), pin, [fleet.settings("v1.1.0")], fleet.folder)
    assert (report.newest, report.behind) == ("v1.10.0", 2)
    assert report.built["v1.1.0"].startswith("2026-01-02")
    assert report.age(datetime(2026, 2, 2, 4, tzinfo=UTC)) == 31
    digest = lock.digest("xingrin", "v1.1.0", fleet.ref("xingrin-agent", "v1.1.0"))
    live = {"installed": True, "live_slot": "blue", "live_release": "v1.1.0-0123abcd"}
    answers = Answers()
    for host, found in (("node1", digest), ("node2", "sha256:" + "0" * 64)):
        answers.values[host, "xingrin-worker"] = {**live, "slots": {"blue": {"digest": found}}}
    answers.values["node3", "xingrin-worker"] = {"installed": False}
    answers.errors["node4", "xingrin-worker"] = Refused("no answer")
    one, two, three, four = running(answers, report)
    assert one == Running(
        "node1", "xingrin-worker", "v1.1.0-0123abcd", "v1.1.0", digest, locked=True
    )
    assert two.locked is False
    assert (three.release, three.locked) == ("not installed", None)
    assert four.error == "no answer"
    fleet.registry.faults = [(503, {})] * 1000
    silent = known(stack("xingrin"), pin, [fleet.settings("v1.1.0")], fleet.folder)
    assert (silent.newest, silent.age(datetime.now(UTC))) == (None, None)
    assert any("not asked" in note for note in silent.notes)


def test_versions_of_files(tmp_path: Path) -> None:
    class Files:
        artifact = "artifacts/crm-{version}.pyz"

    folder = tmp_path / "artifacts"
    folder.mkdir()
    for name in ("crm-v1.9.0.pyz", "crm-v1.10.0.pyz", "crm-v2.0.0-rc.1.pyz", "crm-x.pyz", "SUMS"):
        (folder / name).touch()
    pin = Pin(Path("prod.py"), "crm_version", "v1.9.0", 1)
    report = known(stack("crm"), pin, [Files()], tmp_path)
    assert report.available == ["v1.10.0", "v1.9.0"]
    assert report.behind == 1


def test_which_stacks_are_pinned() -> None:
    both = [{"crm_version": "v1.0.0"}, {"xingrin_version": "v1.0.0"}]
    assert [one.name for one in pinned_stacks(None, both)] == ["crm", "xingrin"]
    assert [one.name for one in pinned_stacks("xingrin-worker", both)] == ["xingrin-worker"]
    for named in (None, "portal"):
        with pytest.raises(Refused, match="expected one of crm"):
            pinned_stacks(named, [{}])
