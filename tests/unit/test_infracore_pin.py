"""Pinning InfraCore: units need the pin alone, containers their digests under its own name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stackpin import lockfile
from stackpin.config.stacks import STACKS
from stackpin.lockfile import Lock
from stackpin.rollout import pinning

INVENTORY = Path("inventories/prod.py")
DIGEST = "sha256:" + "a" * 64


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inventories/group_data").mkdir(parents=True)
    INVENTORY.write_text("infracore = ['a']\n")
    Path("inventories/group_data/prod.py").write_text(
        'infracore_version = "v1.0.0"\ninfracore_lock_file = "prod.lock.toml"\n'
    )


def test_units_are_pinned_without_a_lock_file() -> None:
    change = pinning.prepare(INVENTORY, STACKS["infracore"], "v1.1.0", {}, print)
    assert (change.pin.variable, change.lock) == ("infracore_version", None)


def test_containers_are_locked_under_infracore(monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(settings: Any, lock: Lock, *_: Any, **__: Any) -> Lock:
        one = settings[0]
        images = dict.fromkeys(one.images().values(), DIGEST)
        return lock.with_version(lockfile.key(one), one.version, images)

    monkeypatch.setattr(pinning, "locked", locked)
    data = {"infracore_mode": "compose"}
    change = pinning.prepare(INVENTORY, STACKS["infracore"], "v1.1.0", data, print)
    change.make(print)
    found = lockfile.read(Path("prod.lock.toml")).version("infracore", "v1.1.0")
    assert found is not None and len(found.images) == 5
    settings = STACKS["infracore"].settings(
        {
            "infracore_version": "v1.1.0",
            "infracore_lock_file": "prod.lock.toml",
            "infracore_mode": "compose",
        },
        "a",
    )
    gate = settings["infracore-gate"]
    assert lockfile.uses_images(gate)
    assert lockfile.pinned(gate, Path())["gate"].endswith(f":v1.1.0@{DIGEST}")
