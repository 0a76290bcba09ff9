"""What a rollback does with data: the backup from before, refused without one, restored."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from infra_kit import infracore
from test_cli_care import FakeSession, fleet, run

from stackpin.care.restoring import describe
from stackpin.care.taking_back import Data
from stackpin.cli import rollback as command
from stackpin.config.stacks import stack
from stackpin.engine.remote import RemoteGate
from stackpin.errors import Refused
from stackpin.rollout.model import Request, Roll, Run
from stackpin.rollout.progress import Silent

__all__ = ["fleet", "infracore"]

pytestmark = pytest.mark.usefixtures("infracore")
OLD, NEW = "v1.0.0-aaaaaaaa", "v1.1.0-bbbbbbbb"
BACKUPS = [
    {"id": "11111111", "snapshot": "11111111aa", "time": "2026-11-20T10:00:00.1Z", "tags": ["r1"]},
    {"id": "22222222", "snapshot": "22222222aa", "time": "2026-11-21T10:00:00.123456789Z",
     "tags": ["r2"]},
    {"id": "33333333", "snapshot": "33333333aa", "time": "2026-11-21T12:00:00.1Z", "tags": []},
]  # fmt: skip
JOURNAL = [
    {"t": "2026-11-20T10:00:00Z", "run": "r1", "event": "confirmed", "release": OLD, "from": "x"},
    {"t": "2026-11-21T10:00:00Z", "run": "r2", "event": "confirmed", "release": NEW, "from": OLD},
    {"t": "2026-11-21T11:00:00Z", "run": "r3", "event": "failed", "release": "z", "from": OLD},
]


def play(host: str, command: str, payload: dict[str, Any]) -> dict[str, Any]:
    answers: dict[str, dict[str, Any]] = {
        "backup-list": {"backups": BACKUPS},
        "state": {"journal": JOURNAL},
        "restore": {
            "id": str(payload.get("id"))[:8],
            "snapshot": payload.get("id"),
            "time": "2026-11-21T10:00:00Z",
            "lost": {"users": {"now": 9, "then": 7}},
        },
    }
    return answers.get(command, {"ok": True})


def a_run(session: FakeSession) -> Run:
    stated = SimpleNamespace(backup=object(), database="/var/lib/x.db", postgres=None)
    keeper = SimpleNamespace(host_stack=lambda: stated)
    parts = ("infracore-console", "infracore-gate")
    made = Run(Request("rollback", "x", stack("infracore")), Silent(), lambda _: None)
    made.opened = session  # type: ignore[assignment]
    made.settings = {"a": {"infracore-files": keeper, **dict.fromkeys(parts)}}  # type: ignore[dict-item]
    made.rolls = [Roll("a", part, NEW, OLD) for part in parts]
    return made


def test_the_backup_before_is_that_of_the_run_that_left_the_release(fleet: Any) -> None:
    session = fleet(play)
    data = Data("before")
    data.choose_backup(a_run(session))
    assert list(data.views) == [("a", "infracore-files")]
    assert data.views["a", "infracore-files"]["snapshot"] == "22222222aa"
    told = "\n".join(data.describe())
    assert "users: 9 rows now, 7 in the backup" in told
    dry = [payload for _, command, _, payload in session.calls if command == "restore"]
    assert dry == [{"dry": True, "id": "22222222aa"}]


def test_a_named_backup(fleet: Any) -> None:
    data = Data("3333")
    data.choose_backup(a_run(fleet(play)))
    assert data.views["a", "infracore-files"]["snapshot"] == "33333333aa"


@pytest.mark.parametrize(
    ("wanted", "journal"), [("before", []), ("before", JOURNAL[:1]), ("9", JOURNAL)]
)
def test_without_such_a_backup_all_of_it_is_refused(
    fleet: Any, wanted: str, journal: list[Any]
) -> None:
    def other(host: str, command: str, payload: dict[str, Any]) -> dict[str, Any]:
        return {"journal": journal} if command == "state" else play(host, command, payload)

    with pytest.raises(Refused, match="11111111, 22222222, 33333333") as caught:
        Data(wanted).choose_backup(a_run(fleet(other)))
    assert "--with-data" in str(caught.value)


def test_unasked_it_says_what_was_backed_up_when(fleet: Any) -> None:
    session = fleet(play)
    made = a_run(session)
    Data(None).choose_backup(made)
    (note,) = made.notes
    assert note == (
        "a: data stays as it is; as it was before is backup 22222222 of 2026-11-21 10:00:00 UTC"
    )
    assert "restore" not in session.commands()


def test_a_repository_that_does_not_answer_keeps_nobody_from_going_back(fleet: Any) -> None:
    made = a_run(fleet({"backup-list": RemoteGate("a", "no restic")}))
    Data(None).choose_backup(made)
    assert "no restic" in made.notes[0]


def test_nothing_is_looked_for_where_nothing_goes_back(fleet: Any) -> None:
    session = fleet(play)
    made = a_run(session)
    made.rolls = [Roll("a", "infracore-gate", OLD, OLD, outcome="in-sync")]
    Data("before").choose_backup(made)
    assert session.calls == []


@pytest.mark.parametrize(("code", "restored"), [(0, True), (4, False), (5, False)])
def test_data_goes_back_after_the_releases_did(
    fleet: Any, monkeypatch: pytest.MonkeyPatch, code: int, restored: bool
) -> None:
    session = fleet(play)

    def conduct(_out: Any, _target: Any, _asked: Any, perform: Any, judge: Any, **_: Any) -> int:
        made = a_run(session)
        result: int = perform(made)
        judge(made)
        return result

    monkeypatch.setattr(command, "conduct", conduct)
    monkeypatch.setattr(
        "stackpin.rollout.rollback.rollback",
        lambda run, *, say, before: [step(run) for step in before] and code,
    )
    monkeypatch.setattr(
        "stackpin.care.restoring.change", lambda *_: __import__("contextlib").nullcontext()
    )
    result = run("rollback", "inventories/prod", "infracore", "--yes", "--with-data")
    assert result.exit_code == code, result.output
    assert "users: 9 rows now, 7 in the backup" in result.stdout
    done = [p for _, c, _, p in session.calls if c == "restore" and not p.get("dry")]
    assert bool(done) is restored
    assert ("data was not touched" in result.stderr) is not restored


def test_the_time_span_that_is_lost_is_said() -> None:
    view = {"time": "2020-01-01T00:00:00.123456789Z", "id": "x"}
    assert " d " in list(describe(view))[-1]
    assert "lost; a safety" in list(describe({"id": "x"}))[-1]
