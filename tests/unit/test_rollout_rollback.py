"""Where a rollback goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stackpin.config.stacks import stack
from stackpin.errors import Refused
from stackpin.rollout import rollback as module
from stackpin.rollout.model import Request, Roll, Run
from stackpin.rollout.progress import Silent
from stackpin.rollout.rollback import rollback, target_release
from tests.unit.fleet_fakes import FakeFleet, fleet_run


def state(**extra: Any) -> dict[str, Any]:
    releases = [
        {"id": "v1.0.0-aaaaaaaa", "complete": True},
        {"id": "v1.1.0-bbbbbbbb", "complete": True},
        {"id": "v1.1.0-cccccccc", "complete": True},
        {"id": "v1.2.0-dddddddd", "complete": False},
    ]
    return {"installed": True, "releases": releases, "last_good": "v1.0.0-aaaaaaaa", **extra}


def test_the_recorded_one() -> None:
    assert target_release("h", "crm", state(), None) == "v1.0.0-aaaaaaaa"


@pytest.mark.parametrize("to", ["v1.0.0", "v1.0.0-aaaaaaaa"])
def test_a_named_one(to: str) -> None:
    assert target_release("h", "crm", state(), to) == "v1.0.0-aaaaaaaa"


@pytest.mark.parametrize(
    ("to", "told"), [("v1.1.0", "several"), ("v1.2.0", "no complete"), ("v9", "no complete")]
)
def test_refused(to: str, told: str) -> None:
    with pytest.raises(Refused, match=told):
        target_release("h", "crm", state(), to)


def test_nothing_recorded() -> None:
    with pytest.raises(Refused, match="--to"):
        target_release("h", "crm", state(last_good=None), None)
    with pytest.raises(Refused, match="not installed"):
        target_release("h", "crm", {"installed": False}, None)


@pytest.mark.parametrize(
    ("limit", "outcomes", "wanted", "pinned", "told"),
    [
        ((), ["serving", "in-sync"], ["v1.0.0-aaaaaaaa"] * 2, "v1.0.0", "v1.1.0 -> v1.0.0"),
        (("a",), ["serving"], ["v1.0.0-aaaaaaaa"], "v1.1.0", "stays v1.1.0"),
        ((), ["serving"] * 2, ["v1.0.0-aaaaaaaa", "v1.0.5-bbbbbbbb"], "v1.1.0", "stays v1.1.0"),
        ((), ["serving", "rolled-back"], ["v1.0.0-aaaaaaaa"] * 2, "v1.1.0", ""),
        ((), ["serving", "skipped"], ["v1.0.0-aaaaaaaa"] * 2, "v1.1.0", ""),
        ((), [], [], "v1.1.0", ""),
    ],
)
@pytest.mark.parametrize("ending", [0, 1, KeyboardInterrupt()])
def test_the_pin_follows_when_all_hosts_went_back(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    limit: tuple[str, ...],
    outcomes: list[str],
    wanted: list[str],
    pinned: str,
    told: str,
    ending: int | BaseException,
) -> None:
    (tmp_path / "group_data").mkdir()
    data = tmp_path / "group_data/prod.py"
    data.write_text('crm_version = "v1.1.0"\n')

    def work(run: Run, _opening: object) -> int:
        for number, (one, outcome) in enumerate(zip(wanted, outcomes, strict=True)):
            run.rolls.append(Roll(f"h{number}", "crm", "now", one, outcome=outcome))
        if isinstance(ending, int):
            return ending  # 1: only retiring failed, the new release serves
        raise ending

    monkeypatch.setattr(module, "perform", work)
    request = Request("rollback", str(tmp_path / "prod"), stack("crm"), limit)
    said: list[str] = []
    run = Run(request, Silent(), lambda _: None)
    if isinstance(ending, int):
        assert rollback(run, say=said.append) == ending
    else:
        with pytest.raises(KeyboardInterrupt):
            rollback(run, say=said.append)
    assert data.read_text() == f'crm_version = "{pinned}"\n'
    assert told in "".join(said)


def fleet_choice(states: dict[str, dict[str, Any]], to: str | None = None) -> dict[str, Roll]:
    fleet = FakeFleet(len(states) - 1)
    run = fleet_run(fleet, command="rollback", to=to)
    run.rolls.clear()
    fleet.on_state = lambda host, _payload: states[host]  # type: ignore[method-assign]
    module.choose(run)
    return {roll.host: roll for roll in run.rolls}


SERVER = state(live_release="v1.1.0-bbbbbbbb")


def test_nodes_follow_the_version_of_their_server() -> None:
    node = state(live_release="v1.1.0-cccccccc", last_good="v1.1.0-bbbbbbbb")
    found = fleet_choice({"server": SERVER, "node1": node})
    assert found["server"].wanted == "v1.0.0-aaaaaaaa"
    assert found["node1"].wanted == "v1.0.0-aaaaaaaa"


def test_of_several_releases_of_that_version_the_last_good_one() -> None:
    server = state(live_release="v1.2.0-eeeeeeee", last_good="v1.1.0-bbbbbbbb")
    node = state(live_release="v1.2.0-ffffffff", last_good="v1.1.0-cccccccc")
    there = state(live_release="v1.1.0-bbbbbbbb", last_good="v1.0.0-aaaaaaaa")
    found = fleet_choice({"server": server, "node1": node, "node2": there})
    assert found["node1"].wanted == "v1.1.0-cccccccc"
    assert found["node2"].outcome == "in-sync"


def test_a_node_that_never_had_it_is_left_for_the_next_deploy() -> None:
    new = {"installed": True, "releases": [], "live_release": "v1.1.0-bbbbbbbb"}
    found = fleet_choice({"server": SERVER, "node1": new})
    assert (found["node1"].outcome, found["node1"].code) == ("skipped", 2)
    assert "next deploy" in found["node1"].error


def test_a_server_that_never_had_it_refuses() -> None:
    with pytest.raises(Refused, match="no complete release"):
        fleet_choice({"server": SERVER, "node1": SERVER}, to="v0.9.0")
