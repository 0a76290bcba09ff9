"""`verify`: one exec per host, the score of all parts, and rounds that show what changed."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace
from typing import Any

import pytest
from infra_kit import infracore
from test_cli_care import FakeSession, fleet, run

from stackpin.cli import watching
from stackpin.engine.remote import RemoteLost
from stackpin.rollout import verifying

__all__ = ["fleet", "infracore"]

PARTS = ("infracore-console", "infracore-gate")
INFRA = ("verify", "inventories/prod", "infracore")


def check(name: str, ok: bool = True, weight: float = 1.0, required: bool = True) -> dict[str, Any]:
    told = {"expected": "200", "got": "200" if ok else "500", "detail": "GET /", "where": "slot"}
    return {
        "name": name, "ok": ok, "weight": weight, "required": required, "seconds": 0.01, **told
    }  # fmt: skip


def gate(*checks: dict[str, Any]) -> dict[str, Any]:
    return {"results": list(checks), "threshold": 0.75, "log": []}


@pytest.fixture
def hosts(fleet: Any, infracore: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Two parts on one host; `rounds` holds what they answer, round after round."""
    fake = fleet({}, hosts=("a",))
    fake.rounds = []
    state = {"live_release": "v1.0.0-0123abcd"}

    def prepare(run: Any) -> None:
        run.settings = {"a": dict.fromkeys(PARTS)}
        run.opened = fake

    def many(self: Any, host: str, calls: Any, **_: Any) -> list[Any]:
        self.execs.append(host)
        answers = fake.rounds.pop(0)
        if isinstance(answers, Exception):
            raise answers
        return [state if name == "state" else answers[part] for name, part, _ in calls]

    monkeypatch.setattr(verifying, "prepare", prepare)
    monkeypatch.setattr(verifying, "look_outside", lambda *_: None)
    monkeypatch.setattr(FakeSession, "many", many)
    monkeypatch.setattr("gevent.sleep", lambda _seconds: None)
    return fake


GOOD = {part: gate(check("health", weight=2.0), check("disk", required=False)) for part in PARTS}
BAD = {**GOOD, PARTS[1]: gate(check("health", ok=False, weight=2.0), check("disk"))}


def test_every_check_with_its_weight_and_the_health_score_of_the_host(hosts: Any) -> None:
    hosts.rounds = [GOOD]
    result = run(*INFRA)
    assert result.exit_code == 0, result.output
    assert "ok   health (slot, weight 2, required, 0.01 s)" in result.stdout
    assert "ok   disk (slot, weight 1, 0.01 s)" in result.stdout
    assert "a: health score 100%, passed" in result.stdout
    assert hosts.execs == ["a"]


def test_a_required_check_that_fails_is_not_outvoted(hosts: Any) -> None:
    many = gate(check("health", ok=False), *(check(f"x{n}", required=False) for n in range(9)))
    hosts.rounds = [{**GOOD, PARTS[1]: many}]
    result = run(*INFRA, "--json")
    assert result.exit_code == 5
    health = json.loads(result.stdout)["health"]["a"]
    assert health["score"] > health["threshold"]
    assert health["passed"] is False


OPTIONAL = {**GOOD, PARTS[0]: {**gate(check("health", ok=False, weight=0.0)), "required": False}}


def test_a_part_that_is_not_required_is_told(hosts: Any) -> None:
    hosts.rounds = [OPTIONAL]
    result = run(*INFRA)
    assert result.exit_code == 0, result.output
    assert "a infracore-console: failed, not required, score 0.00" in result.stdout
    assert "a: health score 100%, passed" in result.stdout
    assert "a infracore-console: not healthy, and not required: check health" in result.stderr
    low = gate(check("answers", ok=False, weight=2.0, required=False), check("disk", weight=4.0))
    hosts.rounds = [OPTIONAL, {**OPTIONAL, PARTS[1]: low}]
    assert run(*INFRA, "--watch", "--count", "1").exit_code == 0
    assert run(*INFRA).exit_code == 5, "the score of the whole is too low"


def test_rounds_tell_what_fails_and_what_is_well_again(hosts: Any) -> None:
    hosts.rounds = [GOOD, BAD, BAD, GOOD]
    result = run(*INFRA, "--watch", "--count", "4", "--interval", "1")
    lines = [line.partition(" ")[2] for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert lines == [
        "a: health score 100%, passed",
        "a: health score 67%, FAILED",
        "a infracore-gate: health fails: expected 200, got 500",
        "a: health score 67%, FAILED",
        "a: health score 100%, passed",
        "a infracore-gate: health is well again",
    ]


def test_the_last_round_decides(hosts: Any) -> None:
    hosts.rounds = [GOOD, BAD]
    result = run(*INFRA, "--watch", "--count", "2", "--json")
    assert result.exit_code == 5
    document = json.loads(result.stdout)
    assert [one["exit"] for one in document["rounds"]] == [0, 5]


def test_ctrl_c_ends_it_with_the_last_rounds_code(
    hosts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gevent.sleep", interrupt)
    hosts.rounds = [GOOD]
    result = run(*INFRA, "--watch")
    assert result.exit_code == 0
    assert "interrupted" not in result.stderr


def test_a_host_that_went_away_is_connected_anew(hosts: Any) -> None:
    again: list[str] = []
    hosts.reconnect = again.append
    hosts.rounds = [RemoteLost("a", "the SSH connection is gone"), GOOD]
    result = run(*INFRA, "--watch", "--count", "2")
    assert again == ["a"]
    assert "a: the SSH connection is gone" in result.stdout
    assert result.exit_code == 0


@pytest.mark.parametrize(
    "words",
    [("--count", "2"), ("--interval", "2"), ("--watch", "--json"), ("--watch", "--count=0")],
)
def test_options_that_do_not_fit_are_refused(hosts: Any, words: tuple[str, ...]) -> None:
    assert run(*INFRA, *words).exit_code == 3
    assert hosts.execs == []


def test_the_screen_keeps_a_history(hosts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    from stackpin.cli.output import Output

    console = Console(file=io.StringIO(), record=True, width=160, force_terminal=True)
    monkeypatch.setattr(Output, "console", console)
    terminal = SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(watching, "sys", terminal)
    hosts.rounds = [GOOD, BAD]

    from stackpin.config.stacks import stack
    from stackpin.rollout.model import Request, Run
    from stackpin.rollout.progress import Silent

    asked = Run(Request("verify", "x", stack("infracore")), Silent(), lambda _: None)
    assert watching.watch(Output("verify"), asked, 1.0, 2) == 5
    text = console.export_text()
    assert "■✗" in text
    assert "health: expected 200, got 500" in text
