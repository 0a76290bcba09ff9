"""The way back of a stack with parts: newest change first, one backup for all, every step told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_rollout_batches import DATA, FakeSession

from stackpin.config import stacks
from stackpin.config.crm import CrmSettings
from stackpin.config.load import load
from stackpin.engine.apply import Applied
from stackpin.engine.remote import RemoteGate
from stackpin.rollout import closing, rolling, undoing
from stackpin.rollout.closing import evidence, exit_code
from stackpin.rollout.inverse import document
from stackpin.rollout.model import Request, Roll, Run
from stackpin.rollout.progress import Silent
from stackpin.rollout.rolling import roll_out

PARTS = ("trio-files", "trio-api", "trio-gate")


class Parts(FakeSession):
    """As FakeSession, but failures are by (host, command, part), and parts are recorded."""

    def __init__(self, *hosts: str) -> None:
        super().__init__(*hosts)
        self.told: list[tuple[str, str, str]] = []
        self.wrong: dict[tuple[str, str, str], Exception] = {}

    def call(self, host: str, command: str, part: str, payload: Any = None, **more: Any) -> Any:
        if command == "state":
            return {"live_release": "v1.0.0-old"}
        run = str((payload or {}).get("run") or "")
        self.told.append((host, f"back {command}" if run.endswith("-back") else command, part))
        if error := self.wrong.get((host, command, part)):
            raise error
        return super().call(host, command, part, payload, **more)

    def parts(self, command: str, host: str = "a") -> list[str]:
        return [part for name, one, part in self.told if (name, one) == (host, command)]


@pytest.fixture(autouse=True)
def trio(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PARTS:
        keeper = None if name == PARTS[0] else PARTS[0]
        part = replace(stacks.STACKS["crm"], name=name, keeper=keeper, on_failure="rollback")
        monkeypatch.setitem(stacks.STACKS, name, part)
    whole = stacks.Stack("trio", ("deploys/crm.py",), PARTS, on_failure="rollback")
    monkeypatch.setitem(stacks.STACKS, "trio", whole)
    monkeypatch.setattr(
        "stackpin.rollout.stages.apply_files",
        lambda s, hosts, *_, **__: {host: Applied(("x",), None) for host in hosts},
    )
    monkeypatch.setattr(rolling, "verify_roll", lambda *_: None)
    monkeypatch.setattr(undoing, "PATIENCE", 0.0)


def make_run(session: Parts, stack: str = "trio", **options: Any) -> Run:
    request = Request(options.pop("command", "update"), "inventories/x", stacks.STACKS[stack])
    run = Run(replace(request, **options), Silent(), lambda _: None)
    run.opened = session  # type: ignore[assignment]
    settings = load(CrmSettings, "crm_", DATA, "a")
    for host in session.hosts:
        run.settings[host] = dict.fromkeys(run.parts, settings)
        run.rolls += [Roll(host, part, "v1.0.0-old", "v1.1.0-new") for part in run.parts]
    return run


def test_the_way_back_is_last_in_first_out() -> None:
    session = Parts("a")
    session.wrong["a", "probe", "trio-gate"] = RemoteGate("a", "sick", {"log": ["boom", "end"]})
    run = roll_out(make_run(session))
    assert exit_code(run) == 4
    assert session.parts("begin") == list(PARTS)
    assert session.parts("abort") == ["trio-gate"]
    assert session.parts("back begin") == ["trio-api", "trio-files"]
    assert {roll.outcome for roll in run.rolls} == {"rolled-back"}
    told = document(run)
    assert told is not None
    assert [(step["part"], step["kind"], step["outcome"]) for step in told["steps"]] == [
        ("trio-gate", "abort", "rolled-back"),
        ("trio-api", "return", "rolled-back"),
        ("trio-files", "return", "rolled-back"),
    ]
    assert {(step["from"], step["to"]) for step in told["steps"]} == {("v1.1.0-new", "v1.0.0-old")}
    assert all(step["seconds"] >= 0 and not step["error"] for step in told["steps"])
    (cause,) = told["cause"]
    assert (cause["part"], cause["stage"], cause["log"]) == ("trio-gate", "probe", ["boom", "end"])
    assert "sick" in cause["error"]


def test_a_step_that_fails_is_told_with_its_log_and_the_others_go_on() -> None:
    session = Parts("a")
    session.wrong["a", "gate", "trio-gate"] = RemoteGate("a", "sick")
    plain = session.call

    def call(host: str, command: str, part: str, payload: Any = None, **more: Any) -> Any:
        if command == "probe" and part == "trio-api" and payload["run"].endswith("-back"):
            raise RemoteGate("a", "old one is gone", {"gate": {"log": ["no such file"]}})
        return plain(host, command, part, payload, **more)

    session.call = call  # type: ignore[method-assign]
    run = roll_out(make_run(session))
    assert exit_code(run) == 5
    told = document(run)
    assert told is not None
    assert [step["outcome"] for step in told["steps"]] == ["rolled-back", "serving", "rolled-back"]
    assert "old one is gone" in told["steps"][1]["error"]
    assert told["steps"][1]["log"] == ["no such file"]


def test_nothing_is_taken_back_and_nothing_told_when_all_goes_well() -> None:
    run = roll_out(make_run(Parts("a")))
    assert exit_code(run) == 0
    assert document(run) is None


def test_a_rollback_that_was_asked_for_goes_backwards_too() -> None:
    session = Parts("a")
    run = make_run(session, command="rollback")
    for roll in run.rolls:
        roll.now, roll.wanted = roll.wanted, roll.now
    roll_out(run)
    assert session.parts("begin") == list(reversed(PARTS))
    told = document(run)
    assert told is not None
    assert [(s["part"], s["kind"], s["to"]) for s in told["steps"]] == [
        (part, "rollback", "v1.0.0-old") for part in reversed(PARTS)
    ]
    assert told["cause"] == []


@pytest.mark.parametrize(("stack", "forward"), [("xingrin", True), ("trio", False)])
def test_only_a_stack_with_a_witness_goes_back_in_order(stack: str, forward: bool) -> None:
    request = Request("rollback", "inventories/x", stacks.STACKS[stack])
    run = Run(request, Silent(), lambda _: None)
    assert (run.order == tuple(run.parts)) is forward
    assert set(run.order) == set(run.parts)


def test_the_keeper_is_backed_up_once_for_all_before_the_first_change() -> None:
    session = Parts("a", "b")
    run = make_run(session, batches=("100%",))
    for roll in run.rolls:
        if roll.host == "b" and roll.part == PARTS[0]:
            roll.outcome = "in-sync"
    roll_out(run)
    assert session.parts("backup", "a") == session.parts("backup", "b") == [PARTS[0]]
    first = next(name for host, name, _ in session.told if host == "b")
    assert first == "backup"


def test_one_part_alone_is_backed_up_by_its_keeper() -> None:
    session = Parts("a")
    roll_out(make_run(session, "trio-gate"))
    assert session.parts("backup") == [PARTS[0]]


def test_where_a_host_may_fail_its_other_parts_do_not_stay_half_way() -> None:
    session = Parts("a", "b")
    session.wrong["a", "probe", "trio-api"] = RemoteGate("a", "sick")
    run = make_run(session, max_failures=1, batches=("100%",))
    roll_out(run)
    found = {(roll.host, roll.part): roll.outcome for roll in run.rolls}
    assert [found["b", part] for part in PARTS] == ["serving"] * 3
    assert [found["a", part] for part in PARTS] == ["rolled-back", "rolled-back", "skipped"]
    assert run.keeps_pin


def test_the_document_is_evidence_of_every_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(closing, "git_head", lambda _folder: None)
    gate = {"passed": True, "score": 1.0, "threshold": 0.75, "results": []}
    monkeypatch.setattr(closing, "verify_host", lambda *_: gate)
    session = Parts("a")
    session.wrong["a", "probe", "trio-api"] = RemoteGate("a", "sick", {"log": ["boom"]})
    run = roll_out(make_run(session))
    evidence(run)
    assert run.notes == []
    files = [Path(folder) / "rollback.json" for folder in run.evidence]
    documents = [json.loads(file.read_text()) for file in files]
    assert len(documents) == 2  # nothing was done for the gate
    assert documents[0] == documents[1]
    assert documents[0]["cause"][0]["log"] == ["boom"]
