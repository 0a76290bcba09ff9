"""Plans as values."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stackpin.engine.plan import HostPlan, Plan, PlannedOp, load_plan
from stackpin.errors import Refused

CHANGE = {"kind": "file", "subject": "/etc/x", "before": None, "after": "0644", "diff": ["+ x"]}
OP = PlannedOp("crm", "files", "change", (CHANGE,))
NOOP = PlannedOp("crm", "user", "no-change")


def plan(*ops: PlannedOp, created: str = "now", wanted: str = "v1-b") -> Plan:
    host = HostPlan({"crm": {"now": "v1-a", "wanted": wanted}}, ops)
    return Plan("lab", "crm", created, {"lab1": host})


def test_the_digest_excludes_the_time_only() -> None:
    assert plan(OP).digest == plan(OP, created="later").digest
    assert plan(OP).digest != plan(NOOP).digest
    assert plan(OP).digest != plan(OP, wanted="v1-c").digest


def test_the_document_survives_a_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan(OP, NOOP).to_json()))
    read = load_plan(path)
    assert read["digest"] == plan(OP, NOOP).digest
    assert list(plan(OP, NOOP).differences(read)) == []


def test_differences_are_named() -> None:
    told = list(plan(OP).differences(plan(NOOP, wanted="v1-c").to_json()))
    assert any("releases" in line for line in told)
    assert any("files" in line and "absent" in line for line in told)
    assert any("user" in line for line in told)


def test_in_sync() -> None:
    assert plan(NOOP).in_sync
    assert not plan(PlannedOp("crm", "restart", "conditional")).in_sync


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2}', "\x00"])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(Refused, match="plan --out"):
        load_plan(path)
    with pytest.raises(Refused):
        load_plan(tmp_path / "absent")


def test_an_edited_plan_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan(OP).to_json()).replace("/etc/x", "/etc/y"))
    with pytest.raises(Refused, match="edited"):
        load_plan(path)
