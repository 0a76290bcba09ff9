"""Batches, exit codes, and which rolls go through which stages: a fake session, no host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpin.config.crm import CrmSettings
from stackpin.config.load import load
from stackpin.config.portal import PortalSettings
from stackpin.config.stacks import stack
from stackpin.engine.gather.memory import Memory
from stackpin.engine.remote import RemoteBroken, RemoteGate, RemoteLost, RemoteRefused
from stackpin.engine.session import Mapped
from stackpin.errors import Refused
from stackpin.rollout import rolling, undoing
from stackpin.rollout.closing import exit_code
from stackpin.rollout.hooks import HookFailed, call_hook
from stackpin.rollout.model import Request, Roll, Run
from stackpin.rollout.progress import Silent
from stackpin.rollout.rolling import batches, parse_batches, roll_out

DATA = {"crm_version": "v1.1.0", "crm_admin_token": "env:T"}
STAGES = ["backup", "begin", "rehearse", "start", "gate", "switch", "probe", "confirm", "retire"]


class FakeRemote:
    def __init__(self, session: FakeSession, host: str) -> None:
        self.session, self.host = session, host

    def call(self, command: str, part: str, payload: Any = None, **_: Any) -> dict[str, Any]:
        return self.session.call(self.host, command, part, payload)


class FakeSession:
    """Answers every command with ok, unless `fail` has an exception for (host, command)."""

    def __init__(self, *hosts: str) -> None:
        self.hosts = hosts
        self.calls: list[tuple[str, str]] = []
        self.fail: dict[tuple[str, str], Exception | list[Exception]] = {}
        self.abort: dict[str, Any] = {"stage": "reverted", "serving": "old", "proven": True}
        self.state: dict[str, Any] | Exception = {}
        self.reconnects = 0

    def call(self, host: str, command: str, part: str, payload: Any = None, **_: Any) -> Any:
        if command == "state":
            if isinstance(self.state, Exception):
                raise self.state
            return dict(self.state)
        self.calls.append((host, command))
        error = self.fail.get((host, command))
        if isinstance(error, list):
            error = error.pop(0) if error else None
        if error:
            raise error
        return dict(self.abort) if command == "abort" else {"token": "t", "seconds": 20.0}

    def map(self, function: Callable[[str], Any], hosts: Any = None) -> Mapped[Any]:
        result: Mapped[Any] = Mapped()
        for host in self.hosts if hosts is None else hosts:
            try:
                result.values[host] = function(host)
            except Exception as error:
                result.errors[host] = error
        return result

    @contextmanager
    def fresh(self, host: str) -> Iterator[FakeRemote]:
        self.calls.append((host, "fresh"))
        yield FakeRemote(self, host)

    def reconnect(self, host: str) -> None:
        self.reconnects += 1

    def of(self, host: str) -> list[str]:
        return [command for name, command in self.calls if name == host]


@pytest.fixture(autouse=True)
def no_pyinfra(monkeypatch: pytest.MonkeyPatch) -> None:
    from stackpin.engine.apply import Applied
    from stackpin.rollout import stages

    monkeypatch.setattr(
        stages,
        "apply_files",
        lambda s, hosts, *_, **__: {host: Applied(("x",), None) for host in hosts},
    )
    monkeypatch.setattr(rolling, "verify_roll", lambda *_: None)
    monkeypatch.setattr(undoing, "PATIENCE", 0.0)
    monkeypatch.setattr(undoing, "PAUSE", 0.0)


def make_run(session: FakeSession, **options: Any) -> Run:
    options = {"batches": ("1", "100%"), **options}
    run = Run(Request("deploy", "inventories/x", stack("crm"), **options), Silent(), lambda _: None)
    run.opened = session  # type: ignore[assignment]
    for host in session.hosts:
        run.settings[host] = {"crm": load(CrmSettings, "crm_", DATA, host)}
        run.rolls.append(Roll(host, "crm", "old", "new"))
    return run


def test_all_goes_well() -> None:
    session = FakeSession("a", "b", "c")
    run = roll_out(make_run(session))
    assert exit_code(run) == 0
    assert [roll.outcome for roll in run.rolls] == ["serving"] * 3
    expected = [*STAGES[:7], "fresh", *STAGES[7:]]
    assert session.of("b") == expected
    # The canary is through before the others begin.
    assert session.calls.index(("b", "backup")) > session.calls.index(("a", "retire"))


def test_files_have_no_process_to_rehearse_start_and_gate() -> None:
    session = FakeSession("a")
    run = make_run(session)
    run.request = replace(run.request, stack=stack("portal"))
    data = {"portal_server_name": "crm.example.org"}
    run.settings["a"] = {"portal": load(PortalSettings, "portal_", data, "a")}
    run.rolls[:] = [Roll("a", "portal", "old", "new")]
    assert exit_code(roll_out(run)) == 0
    assert session.of("a") == ["begin", "switch", "probe", "fresh", "confirm", "retire"]


@pytest.mark.parametrize("stage", STAGES[2:8])
def test_a_failing_canary_is_undone_and_stops_the_run(stage: str) -> None:
    session = FakeSession("a", "b")
    session.fail["a", stage] = RemoteGate("a", "sick", {"log": ["boom"]})
    run = roll_out(make_run(session))
    assert exit_code(run) == 4
    assert session.of("a")[-1] == "abort"
    assert session.of("b") == []
    assert [roll.outcome for roll in run.rolls] == ["rolled-back", "skipped"]
    assert "sick" in run.rolls[0].error
    assert run.rolls[0].detail == {"log": ["boom"]}


def test_a_failing_backup_touches_nothing() -> None:
    session = FakeSession("a")
    session.fail["a", "backup"] = RemoteRefused("a", "no room")
    run = roll_out(make_run(session))
    assert exit_code(run) == 3
    assert session.of("a") == ["backup"]
    assert run.rolls[0].outcome == "failed"


def test_what_the_host_declines_in_its_rehearsal_is_refused() -> None:
    session = FakeSession("a", "b")
    session.fail["a", "rehearse"] = RemoteRefused("a", "needs table t")
    run = roll_out(make_run(session))
    assert exit_code(run) == 3
    assert session.of("a")[-1] == "abort"
    assert [roll.outcome for roll in run.rolls] == ["rolled-back", "skipped"]


def test_a_refused_begin_has_nothing_to_undo() -> None:
    session = FakeSession("a")
    session.fail["a", "begin"] = RemoteRefused("a", "another run")
    session.fail["a", "abort"] = RemoteRefused("a", "not the current one", {"current": "x"})
    run = roll_out(make_run(session))
    assert exit_code(run) == 1
    assert run.rolls[0].outcome == "failed"


@pytest.mark.parametrize(
    ("answer", "outcome", "code"),
    [
        ({"stage": "reverted", "serving": "old", "proven": True}, "rolled-back", 4),
        ({"stage": "failed", "serving": "old", "proven": True}, "rolled-back", 4),
        ({"stage": "failed", "serving": None, "proven": False, "first": True}, "rolled-back", 4),
        ({"stage": "reverted", "serving": "old", "proven": False}, "unknown", 5),
        ({"stage": "broken", "serving": None, "proven": False}, "unknown", 5),
    ],
)
def test_what_the_host_recorded_is_what_is_reported(
    answer: dict[str, Any], outcome: str, code: int
) -> None:
    session = FakeSession("a")
    session.fail["a", "probe"] = RemoteGate("a", "sick")
    session.abort = answer
    run = roll_out(make_run(session))
    assert (run.rolls[0].outcome, exit_code(run)) == (outcome, code)


def test_an_abort_that_finds_it_confirmed_leaves_it_serving() -> None:
    session = FakeSession("a")
    session.fail["a", "confirm"] = RemoteLost("a", "gone")
    session.fail["a", "abort"] = RemoteRefused("a", "confirmed", {"stage": "confirmed"})
    run = roll_out(make_run(session))
    assert run.rolls[0].outcome == "serving"
    assert exit_code(run) == 1


LOCKED = {"owner": "bob@x", "age": 3.0, "left": 50.0}


@pytest.mark.parametrize("stage", STAGES[2:8])
def test_a_stolen_lease_is_no_proof_that_nothing_was_begun(stage: str) -> None:
    session = FakeSession("a")
    session.fail["a", stage] = session.fail["a", "abort"] = RemoteRefused("a", "locked", LOCKED)
    session.state = {
        "run": {"run": "r1", "stage": "switched", "doing": None},
        "pending": {"run": "r1", "deadline": 1795305600.0},
        "lock": {"owner": "bob@x", "reason": "mine now"},
    }
    run = make_run(session)
    run.id = "r1"
    roll_out(run)
    roll = run.rolls[0]
    assert (roll.outcome, exit_code(run)) == ("unknown", 5)
    assert "bob@x" in roll.error
    assert "guard" in roll.error
    assert "2026-11-22" in roll.error


@pytest.mark.parametrize(
    ("state", "outcome", "code"),
    [
        ({"run": {"run": "r1", "stage": "confirmed"}}, "serving", 1),
        (
            {"run": {"run": "r1", "stage": "reverted", "proven": True, "serving": "old"}},
            "rolled-back",
            4,
        ),
        (
            {
                "run": {"run": "bobs", "stage": "begun"},
                "journal": [
                    {"run": "r1", "event": "switched"},
                    {"run": "r1", "event": "reverted", "proven": True, "serving": "old"},
                    {"run": "bobs", "event": "begin"},
                ],
            },
            "rolled-back",
            4,
        ),
        ({"run": {"run": "bobs", "stage": "begun"}, "journal": []}, "unknown", 5),
        ({"run": None}, "unknown", 5),
        (RemoteLost("a", "cut"), "unknown", 5),
    ],
)
def test_when_the_abort_is_refused_the_host_is_asked(state: Any, outcome: str, code: int) -> None:
    session = FakeSession("a")
    session.fail["a", "probe"] = session.fail["a", "abort"] = RemoteRefused("a", "locked", LOCKED)
    session.state = state
    run = make_run(session)
    run.id = "r1"
    roll_out(run)
    assert (run.rolls[0].outcome, exit_code(run)) == (outcome, code)


def test_a_run_replaced_by_another_after_the_switch_is_looked_up() -> None:
    session = FakeSession("a")
    session.fail["a", "probe"] = RemoteRefused("a", "not current", {"current": "bobs"})
    session.fail["a", "abort"] = RemoteRefused("a", "not current", {"current": "bobs"})
    session.state = {"run": {"run": "bobs", "stage": "retired"}, "journal": []}
    assert exit_code(roll_out(make_run(session))) == 5


def test_a_silent_host_is_asked_again() -> None:
    session = FakeSession("a")
    session.fail["a", "probe"] = RemoteLost("a", "cut")
    undoing.PATIENCE = 30.0
    session.fail["a", "abort"] = [RemoteLost("a", "cut"), RemoteLost("a", "cut")]
    run = roll_out(make_run(session))
    assert session.reconnects == 2
    assert run.rolls[0].outcome == "rolled-back"


def test_a_host_that_stays_silent_is_unknown() -> None:
    session = FakeSession("a")
    session.fail["a", "start"] = RemoteLost("a", "cut")
    session.fail["a", "abort"] = RemoteLost("a", "cut")
    run = roll_out(make_run(session))
    assert exit_code(run) == 5
    assert "stackpin status" in run.rolls[0].error


def test_a_failed_abort_is_unknown() -> None:
    session = FakeSession("a")
    session.fail["a", "probe"] = RemoteGate("a", "sick")
    session.fail["a", "abort"] = RemoteBroken("a", "old one is dead too", {"stage": "broken"})
    assert exit_code(roll_out(make_run(session))) == 5


def test_a_failed_retire_keeps_the_new_release() -> None:
    session = FakeSession("a")
    session.fail["a", "retire"] = RemoteLost("a", "cut")
    run = roll_out(make_run(session))
    assert "abort" not in session.of("a")
    assert (run.rolls[0].outcome, exit_code(run)) == ("serving", 1)


def test_one_failing_confirm_leaves_the_confirmed_one_serving_and_retires_it() -> None:
    session = FakeSession("a", "b")
    session.fail["a", "confirm"] = RemoteGate("a", "late")
    run = roll_out(make_run(session, batches=("100%",)))
    a, b = run.rolls
    assert (a.outcome, a.code) == ("rolled-back", 4)
    assert (b.outcome, b.code, b.error) == ("serving", 0, "")
    assert session.of("b")[-1] == "retire"
    assert exit_code(run) == 4


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("ours")])
def test_an_exception_in_retire_leaves_a_serving_release_that_counts(error: BaseException) -> None:
    session = FakeSession("a", "b")
    run = make_run(session, batches=("1",))
    stages = tuple(stage for stage in rolling.ROLLING if stage.__name__ != "retire")

    def retire(*_: object) -> dict[str, Exception]:
        raise error

    with pytest.MonkeyPatch.context() as patch, pytest.raises(type(error)):
        patch.setattr(rolling, "ROLLING", (*stages, retire))
        roll_out(run)
    a, b = run.rolls
    assert (a.outcome, a.code) == ("serving", 1)
    assert "next run" in a.error
    assert (b.outcome, b.code) == ("skipped", 0)
    assert "abort" not in session.of("a")


def test_max_failures_lets_the_others_go_on() -> None:
    session = FakeSession("a", "b", "c")
    session.fail["a", "gate"] = RemoteGate("a", "sick")
    run = roll_out(make_run(session, max_failures=1))
    assert [roll.outcome for roll in run.rolls] == ["rolled-back", "serving", "serving"]
    assert exit_code(run) == 4


def test_one_failure_takes_the_whole_batch_back() -> None:
    session = FakeSession("a", "b")
    session.fail["b", "probe"] = RemoteGate("b", "sick")
    run = roll_out(make_run(session, batches=("100%",)))
    assert [roll.outcome for roll in run.rolls] == ["rolled-back", "rolled-back"]
    assert "b failed" in run.rolls[0].error


def test_only_files_changed() -> None:
    session = FakeSession("a")
    run = make_run(session)
    run.rolls[0].wanted = "old"
    roll_out(run)
    assert session.of("a") == ["backup"]
    assert run.rolls[0].outcome == "changed"


def test_a_lost_lease_stops() -> None:
    session = FakeSession("a")
    run = make_run(session)

    class Lost:
        def check(self) -> None:
            raise Refused("stolen by bob")

    run.lease = Lost()  # type: ignore[assignment]
    roll_out(run)
    assert "stolen by bob" in run.rolls[0].error
    assert session.calls == []


@given(st.integers(0, 40), st.lists(st.sampled_from(["1", "3", "10%", "50%", "100%"]), min_size=1))
def test_batches_cover_every_host_once(count: int, sizes: list[str]) -> None:
    rolls = [Roll(str(i), "crm", "a", "b") for i in range(count)]
    cut = list(batches(rolls, sizes))
    assert [roll for batch in cut for roll in batch] == rolls
    assert all(cut)


@pytest.mark.parametrize("text", ["", "0", "half", "101%", "-1", "1,,2", "1%2"])
def test_bad_batches(text: str) -> None:
    with pytest.raises(Refused, match="--batch"):
        parse_batches(text)


def test_good_batches() -> None:
    assert parse_batches("1, 25%,100%") == ("1", "25%", "100%")


def test_what_is_remembered_of_hosts_is_forgotten_when_a_hook_ran(tmp_path: Path) -> None:
    session = FakeSession("a")
    memory = Memory()
    session.gathering = SimpleNamespace(memories={"a": memory})  # type: ignore[attr-defined]
    run = make_run(session, hooks=tmp_path)

    def knows() -> bool:
        memory.keep(memory.generation, {}, [(("state", "crm", {}), {"ok": True})])
        with suppress(HookFailed):
            call_hook(run, "apply", ["a"], "crm")
        return memory.answer(("state", "crm", {})) is not None

    assert knows()
    for text in ("exit 0", "exit 1"):
        (tmp_path / "apply").write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "apply").chmod(0o755)
        assert not knows()
