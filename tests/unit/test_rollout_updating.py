"""The pin goes up before the rollout and comes back when the hosts do not take it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stackpin.config.stacks import stack
from stackpin.errors import Refused
from stackpin.rollout import updating
from stackpin.rollout.model import Request, Roll, Run
from stackpin.rollout.progress import Silent
from stackpin.rollout.updating import update

GROUP_DATA = '# The pin.\ncrm_version = "v1.0.0"  # keep me\n'


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    (tmp_path / "group_data").mkdir()
    (tmp_path / "group_data/prod.py").write_text(GROUP_DATA)
    path = tmp_path / "prod"
    path.write_text("hosts = ['a']\n")
    return path


def text(inventory: Path) -> str:
    return (inventory.parent / "group_data/prod.py").read_text()


def bumped(inventory: Path) -> bool:
    return text(inventory) == GROUP_DATA.replace("v1.0.0", "v1.1.0")


def go(
    inventory: Path,
    monkeypatch: pytest.MonkeyPatch,
    work: Callable[[Run], int],
    version: str = "v1.1.0",
    name: str = "crm",
    **options: bool,
) -> int:
    run = Run(Request("update", str(inventory), stack(name)), Silent(), lambda _: None)
    monkeypatch.setattr(updating, "perform", work)
    said: list[str] = []
    options = {"allow_downgrade": False, **options}
    return update(run, version, say=said.append, **options)  # type: ignore[arg-type]


def test_kept_when_it_serves(inventory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(_run: Run) -> int:
        assert bumped(inventory)
        return 0

    assert go(inventory, monkeypatch, work) == 0
    assert bumped(inventory)


@pytest.mark.parametrize("code", [1, 3, 4, 5])
def test_put_back(inventory: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def work(run: Run) -> int:
        run.rolls += [
            Roll("a", "crm", "o", "n", outcome="serving"),
            Roll("b", "crm", "o", "n", outcome="rolled-back", code=code),
        ]
        return code

    assert go(inventory, monkeypatch, work) == code
    assert text(inventory) == GROUP_DATA


@pytest.mark.parametrize("error", [Refused("x"), KeyboardInterrupt(), ValueError()])
def test_put_back_after_an_exception(
    inventory: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def work(_run: Run) -> int:
        raise error

    with pytest.raises(type(error)):
        go(inventory, monkeypatch, work)
    assert text(inventory) == GROUP_DATA


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError()])
def test_kept_when_every_host_serves_it_whatever_was_raised_then(
    inventory: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def work(run: Run) -> int:
        run.rolls.append(Roll("a", "crm", "o", "n", outcome="serving", code=1))
        raise error

    with pytest.raises(type(error)):
        go(inventory, monkeypatch, work)
    assert bumped(inventory)


def test_a_pin_somebody_else_wrote_meanwhile_stays(
    inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = GROUP_DATA.replace("v1.0.0", "v1.2.0")

    def work(_run: Run) -> int:
        (inventory.parent / "group_data/prod.py").write_text(theirs)
        return 4

    assert go(inventory, monkeypatch, work) == 4
    assert text(inventory) == theirs


def test_kept_when_only_retiring_failed(inventory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(run: Run) -> int:
        run.rolls.append(Roll("a", "crm", "o", "n", outcome="serving", code=1))
        return 1

    assert go(inventory, monkeypatch, work) == 1
    assert bumped(inventory)


@pytest.mark.parametrize(
    ("version", "name", "told"),
    [
        ("latest", "crm", "latest"),
        ("1.1.0", "crm", "vX.Y.Z"),
        ("v0.9.0", "crm", "allow-downgrade"),
        ("v1.1.0", "portal", "no version"),
    ],
)
def test_refused(
    inventory: Path, monkeypatch: pytest.MonkeyPatch, version: str, name: str, told: str
) -> None:
    with pytest.raises(Refused, match=told):
        go(inventory, monkeypatch, lambda _run: 0, version, name)
    assert text(inventory) == GROUP_DATA


def test_a_wanted_downgrade(inventory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert go(inventory, monkeypatch, lambda _run: 0, "v0.9.0", allow_downgrade=True) == 0
    assert 'crm_version = "v0.9.0"' in text(inventory)
