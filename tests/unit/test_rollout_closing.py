"""The evidence of a run: what it says of codes, paths and public answers. No host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_rollout_batches import DATA, FakeSession

from stackpin import artifacts
from stackpin.config.crm import CrmSettings
from stackpin.config.load import load
from stackpin.config.stacks import stack
from stackpin.evidence.verify import verify
from stackpin.rollout import closing, outside
from stackpin.rollout.closing import evidence
from stackpin.rollout.model import Request, Roll, Run
from stackpin.rollout.progress import Silent

PUBLIC = {"passed": True, "score": 1.0, "results": []}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(closing, "git_head", lambda _folder: None)
    monkeypatch.setattr(outside, "ask_public", lambda *_: PUBLIC)
    session = FakeSession("a")
    answers = {"results": [], "threshold": 0.75, "findings": []}
    monkeypatch.setattr(
        session, "many", lambda _, calls, **__: [dict(answers) for _ in calls], False
    )
    run = Run(Request("deploy", "inventories/x", stack("crm")), Silent(), lambda _: None)
    run.opened = session  # type: ignore[assignment]
    run.settings["a"] = {"crm": load(CrmSettings, "crm_", DATA, "a")}
    return run


def written(run: Run, name: str) -> Any:
    evidence(run)
    assert run.notes == []
    return json.loads((Path(run.evidence[0]) / name).read_text())


def serving(**more: Any) -> Roll:
    return Roll("a", "crm", "v1.0.0-a", "v1.1.0-b", confirmed=True, outcome="serving", **more)


@pytest.mark.parametrize(
    ("raised", "code", "reason"),
    [(None, 0, ""), (KeyboardInterrupt(), 130, "interrupted"), (ValueError("ours"), 1, "ours")],
)
def test_after_an_exception_the_code_is_never_0(
    run: Run, raised: BaseException | None, code: int, reason: str
) -> None:
    run.rolls, run.raised = [serving()], raised
    manifest = written(run, "manifest.json")
    assert (manifest["exit_code"], manifest["reason"]) == (code, reason)
    assert manifest["outcome"] == "serving"


def test_public_answers_are_there_when_only_files_changed(run: Run) -> None:
    run.rolls = [Roll("a", "crm", "v1.0.0-a", "v1.0.0-a", outcome="changed")]
    assert written(run, "04-portal-checks.json") == {"a": PUBLIC}


def test_those_before_the_confirmation_are_kept(run: Run) -> None:
    run.rolls = [serving(public={**PUBLIC, "score": 0.9})]
    assert written(run, "04-portal-checks.json")["a"]["score"] == 0.9


@pytest.mark.parametrize(("inside", "shown"), [(True, "artifacts/x.pyz"), (False, None)])
def test_an_artifact_is_named_as_seen_from_the_working_directory(
    run: Run, tmp_path: Path, inside: bool, shown: str | None
) -> None:
    path = tmp_path / "artifacts/x.pyz" if inside else Path("/somewhere/x.pyz")
    run.artifacts["a"] = {"crm": artifacts.Artifact(path, "x.pyz", "v1.1.0", "0" * 64, 3)}
    run.rolls = [serving()]
    assert written(run, "01-artifact.json")["artifact"]["path"] == (shown or str(path))


def test_page_and_figures_stand_beside_the_documents(run: Run) -> None:
    run.rolls = [serving(timings=[{"stage": "gate", "at": 1.0, "seconds": 2.5}])]
    run.timings = [{"stage": "plan", "at": 0.0, "seconds": 0.5}]
    run.machines["a"] = {"cpus": 2, "load": [0.1, 0.2, 0.3]}
    figures = written(run, "metrics.json")
    assert (figures["outcome"], figures["hosts"]) == ("serving", {"serving": 1})
    assert figures["host_stages"] == {"a": {"gate": 2.5}}
    folder = Path(run.evidence[0])
    text = (folder / "metrics.prom").read_text()
    where = 'host="a",inventory="x",stack="crm"'
    assert 'stackpin_run_success{inventory="x",stack="crm"} 1.0\n' in text
    assert 'stackpin_run_stage_seconds{host="",inventory="x",stack="crm",stage="plan"} 0.5' in text
    assert f'stackpin_run_stage_seconds{{{where},stage="gate"}}' in text
    html = (folder / "report.html").read_text()
    assert "0.10 0.20 0.30 on 2 CPUs" in html
    assert verify(folder) == []


def test_a_defect_of_the_page_does_not_cost_the_proof(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> str:
        raise KeyError("ours")

    monkeypatch.setattr(closing, "page", broken)
    run.rolls = [serving()]
    evidence(run)
    folder = Path(run.evidence[0])
    assert run.notes == ["no report of crm: KeyError: 'ours'"]
    assert (folder / "metrics.prom").exists()
    assert not (folder / "report.html").exists()
    assert verify(folder) == []
