"""An inventory's files are run once, and again when they changed or are forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stackpin.engine.state import forget_inventory, load_inventory

INVENTORY = """
from pathlib import Path
with Path("runs").open("a") as log:
    log.write("x")
web = [("one", {"port": 1}), "two"]
db = ["two"]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "group_data").mkdir()
    (tmp_path / "prod.py").write_text(INVENTORY)
    (tmp_path / "group_data/db.py").write_text("size = 1\n")
    forget_inventory()
    yield tmp_path
    forget_inventory()


def runs(folder: Path) -> int:
    return len((folder / "runs").read_text())


def told(**data: object) -> dict[str, tuple[list[str], dict[str, object]]]:
    found = load_inventory("prod.py", data)
    return {host.name: (list(host.groups), dict(host.data.dict())) for host in found}


def test_the_second_is_the_first_again_with_its_own_overrides(folder: Path) -> None:
    first = told()
    assert told() == first
    assert first["one"][1] == {"port": 1}
    assert first["two"][1] == {"size": 1}
    assert told(size=9)["two"][1] == {"size": 9}
    assert told() == first
    assert runs(folder) == 1


def test_its_hosts_are_new_ones() -> None:
    first, second = load_inventory("prod.py"), load_inventory("prod.py")
    assert first.get_host("one") is not second.get_host("one")


def test_a_file_that_changed_is_read(folder: Path) -> None:
    told()
    (folder / "group_data/db.py").write_text("size = 22\n")
    assert told()["two"][1] == {"size": 22}
    assert runs(folder) == 2


def test_what_an_edit_would_do_is_not_remembered(folder: Path) -> None:
    told()
    edit = {folder / "group_data/db.py": b"size = 3\n"}
    assert load_inventory("prod.py", None, edit).get_host("two").data.get("size") == 3
    assert told()["two"][1] == {"size": 1}


def test_a_forgotten_one_is_run_again(folder: Path) -> None:
    told()
    forget_inventory()
    told()
    assert runs(folder) == 2
