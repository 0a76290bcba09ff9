"""Groups of an inventory decide which host has which part, and who is connected."""

from __future__ import annotations

from pathlib import Path

import pytest

from stackpin.config.stacks import stack
from stackpin.engine.placing import chosen, parts_in, witness_hosts
from stackpin.engine.state import load_inventory
from stackpin.errors import Refused
from stackpin.lockfile import Lock, write
from stackpin.rollout.checking import check_inventory

INVENTORY = """
xingrin = [("hub", {"ssh_hostname": "10.0.0.1"})]
workers = [("n1", {"ssh_hostname": "10.0.0.2"}), ("n2", {"ssh_hostname": "10.0.0.3"})]
others = [("web", {})]
"""
GROUP_DATA = """
xingrin_version = "v1.1.0"
xingrin_public_host = "10.0.0.1"
xingrin_lock_file = "fleet.lock.toml"
"""


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "group_data").mkdir()
    (tmp_path / "group_data/all.py").write_text(GROUP_DATA)
    (tmp_path / "fleet.py").write_text(INVENTORY)
    monkeypatch.chdir(tmp_path)
    return "fleet.py"


def lock_images(inventory: str) -> None:
    found = check_inventory(inventory, stack("xingrin"), (), {}, artifacts=False)
    images = found.settings["hub"]["xingrin-server"].images()  # type: ignore[attr-defined]
    digests = dict.fromkeys(images.values(), "sha256:" + "a" * 64)
    path = Path("fleet.lock.toml")
    write(path, Lock(path).with_version("xingrin", "v1.1.0", digests))


def test_parts_by_group(inventory: str) -> None:
    loaded = load_inventory(inventory)
    assert chosen(loaded, stack("xingrin"), (), inventory) == {
        "hub": ("xingrin-server",),
        "n1": ("xingrin-worker",),
        "n2": ("xingrin-worker",),
    }
    assert list(chosen(loaded, stack("xingrin-worker"), (), inventory)) == ["n1", "n2"]
    assert list(chosen(loaded, stack("xingrin"), ("n2", "web"), inventory)) == ["n2"]
    assert list(chosen(loaded, stack("site"), (), inventory)) == ["hub", "n1", "n2", "web"]


def test_a_stack_without_any_host_is_refused(inventory: str) -> None:
    loaded = load_inventory(inventory)
    with pytest.raises(Refused, match=r"among web; expected one in the group workers or xingrin"):
        chosen(loaded, stack("xingrin"), ("web",), inventory)


def test_witness(inventory: str) -> None:
    loaded = load_inventory(inventory)
    for name in ("xingrin", "xingrin-worker"):
        assert [host.name for host in witness_hosts(loaded, stack(name))] == ["hub"]
    assert witness_hosts(loaded, stack("xingrin-server")) == []
    assert witness_hosts(loaded, stack("site")) == []


def test_groups_not_asked_for_means_every_part() -> None:
    assert parts_in(stack("xingrin"), None) == ("xingrin-server", "xingrin-worker")
    assert parts_in(stack("site"), ["whatever"]) == ("portal", "crm")


def test_settings_and_images_of_each_host_own_part(inventory: str) -> None:
    lock_images(inventory)
    found = check_inventory(inventory, stack("xingrin"), (), {})
    assert {host: list(parts) for host, parts in found.settings.items()} == {
        "hub": ["xingrin-server"],
        "n1": ["xingrin-worker"],
        "n2": ["xingrin-worker"],
    }
    assert set(found.images["n1"]["xingrin-worker"]) == {"agent", "worker"}
    assert "server" in found.images["hub"]["xingrin-server"]
    assert all("@sha256:" in ref for ref in found.images["hub"]["xingrin-server"].values())


def test_an_unlocked_version_is_refused_unless_images_play_no_part(inventory: str) -> None:
    assert check_inventory(inventory, stack("xingrin"), (), {}, artifacts=False).images == {}
    with pytest.raises(Refused, match="pin"):
        check_inventory(inventory, stack("xingrin"), (), {})


def test_the_whole_fleet_is_judged_whatever_the_limit(inventory: str) -> None:
    Path("fleet.py").write_text(INVENTORY.replace("10.0.0.3", "10.0.0.1"))
    with pytest.raises(Refused, match="group workers"):
        check_inventory(inventory, stack("xingrin"), ("n1",), {}, artifacts=False)
