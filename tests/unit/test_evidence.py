"""Evidence: written whole, private and redacted; every later change is noticed."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from stackpin import redact
from stackpin.evidence import record as record_module
from stackpin.evidence.collect import HostEvidence, collect, describe_artifact, git_head
from stackpin.evidence.listing import entries
from stackpin.evidence.record import MANIFEST, MANIFEST_SUM, Record, write
from stackpin.evidence.verify import verify

WHEN = datetime(2026, 11, 21, 23, 45, 1, tzinfo=timezone(timedelta(hours=1)))


def make(**changes: object) -> Record:
    values = {
        "inventory": "prod",
        "stack": "crm",
        "version": "v1.1.0",
        "run": "r1",
        "outcome": "done",
        "who": "ann@desk",
        "created": WHEN,
        "hosts": {"a": {"release": "v1.1.0-12345678", "outcome": "done"}},
        "documents": {"01-artifact.json": {"sha256": "00"}, "plan.json": [1, 2]},
    }
    return Record(**{**values, **changes})  # type: ignore[arg-type]


def test_layout_modes_and_names(tmp_path: Path) -> None:
    path = write(tmp_path / "evidence", make())
    assert path == tmp_path / "evidence/prod/crm/20261121T224501Z-v1.1.0"
    assert {p.name for p in path.iterdir()} == {
        "01-artifact.json",
        "plan.json",
        MANIFEST,
        MANIFEST_SUM,
    }
    folders = [path, *path.parents][:4]
    assert {stat.S_IMODE(p.stat().st_mode) for p in folders} == {0o700}
    assert {stat.S_IMODE(p.stat().st_mode) for p in path.iterdir()} == {0o600}
    assert verify(path) == []


def test_manifest_lists_every_file_and_has_its_own_sum(tmp_path: Path) -> None:
    path = write(tmp_path, make())
    manifest = json.loads((path / MANIFEST).read_text())
    assert [entry["name"] for entry in manifest["files"]] == ["01-artifact.json", "plan.json"]
    for entry in manifest["files"]:
        assert entry["sha256"] == hashlib.sha256((path / entry["name"]).read_bytes()).hexdigest()
    assert manifest["hosts"]["a"]["release"] == "v1.1.0-12345678"
    found = hashlib.sha256((path / MANIFEST).read_bytes()).hexdigest()
    assert (path / MANIFEST_SUM).read_text() == f"{found}  manifest.json\n"


def test_two_records_of_one_second_stay_apart(tmp_path: Path) -> None:
    first, second = write(tmp_path, make()), write(tmp_path, make(run="r2"))
    assert second.name == f"{first.name}-2"
    assert verify(first) == verify(second) == []
    assert [entry.manifest["run"] for entry in entries(tmp_path)] == ["r1", "r2"]


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Path:
        raise OSError("disk full")

    monkeypatch.setattr(record_module, "_publish", broken)
    with pytest.raises(OSError, match="disk full"):
        write(tmp_path, make())
    assert list((tmp_path / "prod/crm").iterdir()) == []


@pytest.mark.parametrize(
    "bad",
    [
        {"documents": {"../x": 1}},
        {"documents": {"a/b": 1}},
        {"documents": {".hidden": 1}},
        {"documents": {"x\n": 1}},
        {"documents": {MANIFEST: 1}},
        {"inventory": ".."},
        {"stack": ""},
        {"version": "v1/../../x"},
    ],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="evidence"):
        write(tmp_path, make(**bad))
    assert list(tmp_path.iterdir()) == []


def test_texts_are_redacted_at_every_depth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = 'to"ken\\$-of-16'
    monkeypatch.setattr(redact, "_known", frozenset({token}))
    documents = {
        "d.json": {token: [f"x {token}", {"deep": (token, 1, None, True)}], "p": Path(token)}
    }
    path = write(tmp_path, make(documents=documents, reason=token, hosts={token: {"why": token}}))
    for file in path.iterdir():
        assert token not in file.read_text()
        assert json.dumps(token)[1:-1] not in file.read_text()
    assert verify(path) == []


def _alter(path: Path) -> None:
    (path / "plan.json").write_text("[1, 3]\n")


def _alter_same_size(path: Path) -> None:
    data = (path / "plan.json").read_bytes()
    (path / "plan.json").write_bytes(data.replace(b"2", b"3"))


def _remove(path: Path) -> None:
    (path / "plan.json").unlink()


def _add(path: Path) -> None:
    (path / "06-more.json").write_text("{}")


def _add_hidden(path: Path) -> None:
    (path / ".x").write_text("")


def _link(path: Path) -> None:
    data = (path / "plan.json").read_bytes()
    (path / "plan.json").unlink()
    (path.parent / "elsewhere").write_bytes(data)
    (path / "plan.json").symlink_to(path.parent / "elsewhere")


def _tamper(path: Path) -> None:
    text = (path / MANIFEST).read_text()
    (path / MANIFEST).write_text(text.replace('"done"', '"good"'))


def _tamper_both_file_and_manifest(path: Path) -> None:
    old = hashlib.sha256((path / "plan.json").read_bytes()).hexdigest()
    _alter_same_size(path)
    new = hashlib.sha256((path / "plan.json").read_bytes()).hexdigest()
    (path / MANIFEST).write_text((path / MANIFEST).read_text().replace(old, new))


def _no_sum(path: Path) -> None:
    (path / MANIFEST_SUM).unlink()


def _no_manifest(path: Path) -> None:
    (path / MANIFEST).unlink()


def _not_json(path: Path) -> None:
    (path / MANIFEST).write_bytes(b"\xff{")


def _escape(path: Path) -> None:
    (path / MANIFEST).write_text((path / MANIFEST).read_text().replace("plan.json", "../../x"))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_alter, "plan.json: altered"),
        (_alter_same_size, "plan.json: altered"),
        (_remove, "plan.json: missing"),
        (_add, "06-more.json: not in the manifest"),
        (_add_hidden, ".x: not in the manifest"),
        (_link, "plan.json: not a plain file"),
        (_tamper, "manifest.json: altered"),
        (_tamper_both_file_and_manifest, "manifest.json: altered"),
        (_no_sum, "manifest.sha256: missing"),
        (_no_manifest, "manifest.json: missing"),
        (_not_json, "manifest.json: cannot be read"),
        (_escape, "not a file name"),
    ],
)
def test_every_change_is_noticed(tmp_path: Path, damage: Callable[[Path], None], said: str) -> None:
    path = write(tmp_path, make())
    damage(path)
    assert any(said in problem for problem in verify(path)), verify(path)


def test_a_path_that_is_no_record(tmp_path: Path) -> None:
    assert "no evidence directory" in verify(tmp_path / "nothing")[0]


def test_listing_shows_the_unreadable_and_skips_the_unfinished(tmp_path: Path) -> None:
    path = write(tmp_path, make())
    (path / MANIFEST).write_text("{")
    unfinished = path.parent / ".new-x"
    unfinished.mkdir()
    (unfinished / MANIFEST).write_text("{}")
    (entry,) = entries(tmp_path)
    assert entry.path == path
    assert entry.problem
    assert entries(tmp_path, "staging") == []


def test_collect_says_null_for_what_a_host_did_not_answer(tmp_path: Path) -> None:
    file = tmp_path / "crm.pyz"
    file.write_bytes(b"binary")
    got = collect(
        inventory="prod",
        stack="crm",
        version="v1.1.0",
        run="r",
        who="ann",
        command="deploy",
        outcome="rolled back",
        exit_code=4,
        started=datetime(2026, 1, 1, tzinfo=UTC),
        finished=datetime(2026, 1, 1, 0, 1, tzinfo=UTC),
        hosts={
            "a": HostEvidence("v1.1.0-1", "done", inspect={"x": 1}),
            "b": HostEvidence(None, "?"),
        },
        artifact=describe_artifact(file, "artifacts/crm.pyz"),
        plan={"digest": "d"},
    )
    documents = got.documents
    assert documents["01-artifact.json"]["artifact"]["path"] == "artifacts/crm.pyz"
    assert documents["01-artifact.json"]["artifact"]["size"] == 6
    assert documents["02-remote-inspect.json"] == {"a": {"x": 1}, "b": None}
    assert documents["05-timings.json"]["seconds"] == 60.0
    assert verify(write(tmp_path / "e", got)) == []


def test_git_head_outside_a_tree_is_none(tmp_path: Path) -> None:
    assert git_head(tmp_path) is None
