"""What answers of a host mean: each kind of trouble, its rank and its next step."""

from __future__ import annotations

from typing import Any

import pytest

from stackpin.care.diagnosis import Level, Place, Problem, diagnose, ranked, unreachable

PLACE = Place("inventories/prod", "infracore", "h1", "infracore-console", "console")
AT = "inventories/prod infracore"


def told(**changes: Any) -> dict[str, Any]:
    """Answers of a healthy part, with other values for some questions or keys of state."""
    use = {"total": 1000, "used": 100}
    state = {
        "installed": True,
        "live_slot": "blue",
        "live_release": "v1.0.0-0123abcd",
        "slots": {"blue": {"active": "active", "restarts": 0}},
        "releases": [{"id": "v1.0.0-0123abcd", "version": "v1.0.0"}],
        "machine": {"disk_mb": use, "memory_mb": use},
    }
    answers: dict[str, Any] = {
        "state": state,
        "inspect": {"findings": []},
        "verify": {"results": [check("health")], "log": []},
        "preflight": {"items": [{"name": "cpus", "ok": True, "severity": "fail"}]},
        "clues": {"certificates": [{"path": "/c.pem", "days": 800.0, "problem": ""}]},
    }
    for key, value in changes.items():
        if key in answers:
            answers[key] = value
        else:
            state[key] = value
    return answers


def check(name: str, *, ok: bool = True, required: bool = True) -> dict[str, Any]:
    return {"name": name, "ok": ok, "required": required, "got": "500", "expected": "200"}


def found(answers: dict[str, Any], pin: str | None = "v1.0.0") -> list[Problem]:
    return ranked(diagnose(PLACE, answers, pin))


def finding(code: str) -> dict[str, Any]:
    message = f"{code} here; do this"
    return {"findings": [{"code": code, "message": message, "expected": "e", "found": "f"}]}


def item(severity: str) -> dict[str, Any]:
    row = {"name": "clock", "ok": False, "severity": severity, "measured": "+90 s"}
    return {"items": [{**row, "expected": "within 60 s", "remedy": "Set the clock."}]}


def certificate(days: float | None) -> dict[str, Any]:
    return {"certificates": [{"path": "/c.pem", "days": days, "problem": "no such file"}]}


def test_a_healthy_part_has_no_problem() -> None:
    assert found(told()) == []


@pytest.mark.parametrize(
    ("changes", "level", "what", "step"),
    [
        ({"installed": False}, 0, "is not installed", f"stackpin deploy {AT}"),
        ({"live_release": None}, 0, "serves nothing", f"stackpin deploy {AT}"),
        (
            {"slots": {"blue": {"active": "failed"}}},
            0, "does not run", f"stackpin start {AT} console",
        ),
        (
            {"slots": {"blue": {"active": "active", "restarts": 5}}},
            1, "keeps restarting", f"stackpin logs {AT} console",
        ),
        ({"nginx_reload_pending": True}, 1, "nginx was not reloaded", f"stackpin deploy {AT}"),
        ({"lock": {"owner": "ann", "left": 9}}, 3, "somebody is at work", f"stackpin lock {AT}"),
        (
            {"machine": {"disk_mb": {"total": 100, "used": 97}}},
            1, "disk is nearly full", f"stackpin prune {AT}",
        ),
        ({"inspect": finding("maintenance-on")}, 0, "maintenance-on here",
         f"stackpin maintenance off {AT}"),
        ({"inspect": finding("database-damaged")}, 0, "database-damaged",
         f"stackpin restore {AT} latest"),
        ({"inspect": finding("unfinished-run")}, 1, "unfinished-run", f"stackpin deploy {AT}"),
        ({"inspect": finding("brand-new")}, 2, "brand-new", f"stackpin deploy {AT}"),
        ({"inspect": {"error": "no answer"}}, 0, "inspect was not answered", "stackpin doctor"),
        ({"verify": {"results": [check("health", ok=False)]}}, 0, "check health fails",
         f"stackpin logs {AT} console"),
        ({"verify": {"results": [check("answers-snap", ok=False)]}}, 0, "check answers-snap",
         f"stackpin logs {AT} snap"),
        ({"verify": {"results": [check("disk", ok=False, required=False)]}}, 1, "check disk",
         f"stackpin prune {AT}"),
        ({"clues": certificate(-1.0)}, 0, "certificate /c.pem", f"stackpin deploy {AT}"),
        ({"clues": certificate(3.0)}, 1, "certificate /c.pem", f"stackpin deploy {AT}"),
        ({"clues": certificate(20.0)}, 2, "certificate /c.pem", f"stackpin deploy {AT}"),
        ({"clues": certificate(None)}, 0, "certificate /c.pem", f"stackpin deploy {AT}"),
        ({"preflight": item("fail")}, 2, "would be refused: clock", "Set the clock. Then: "),
        ({"preflight": item("warn")}, 3, "preflight warns: clock", f"stackpin preflight {AT}"),
    ],
)  # fmt: skip
def test_each_trouble_has_its_rank_and_next_step(
    changes: dict[str, Any], level: int, what: str, step: str
) -> None:
    (problem,) = found(told(**changes))
    assert (problem.level, what in problem.what, step in problem.next) == (level, True, True)
    assert "--limit h1" in problem.next
    assert problem.found and problem.expected


def test_another_version_than_the_pin() -> None:
    (problem,) = found(told(), pin="v1.1.0")
    assert (problem.level, problem.found, problem.expected) == (Level.ODD, "v1.0.0", "v1.1.0")


def test_causes_come_before_what_follows_and_worst_first() -> None:
    stopped = told(
        slots={"blue": {"active": "failed"}},
        inspect={
            "findings": [*finding("slot-not-running")["findings"], *finding("odd")["findings"]]
        },
        verify={"results": [check("a", ok=False), check("b", ok=False)], "log": ["why", "it died"]},
        preflight=item("warn"),
    )
    names = [problem.what.split()[0] for problem in found(stopped)]
    assert names == ["infracore-console@blue", "check", "check", "odd", "preflight"]
    first, second = (problem for problem in found(stopped) if problem.what.startswith("check"))
    assert (first.log, second.log) == (("why", "it died"), ())


def test_the_same_is_said_once() -> None:
    twice = [*diagnose(PLACE, told(installed=False)), *diagnose(PLACE, told(installed=False))]
    assert len(ranked(twice)) == 1


def test_a_run_that_was_taken_back_is_a_hint_with_its_reason() -> None:
    journal = [
        {"t": "2026-11-21T22:00:00Z", "run": "r1", "event": "begin", "command": "update"},
        {"t": "2026-11-21T22:00:09Z", "run": "r1", "event": "reverted", "reason": "console: 500"},
    ]
    (problem,) = found(told(journal=journal))
    assert problem.level is Level.HINT
    assert problem.found == "2026-11-21T22:00:00 update: rolled back: console: 500"
    assert problem.next == f"stackpin evidence list {AT}"


def test_what_serves_nothing_is_not_blamed_for_its_health() -> None:
    refused = {"verify": {"error": "no release there"}}
    (problem,) = found(told(live_release=None, **refused))
    assert "serves nothing" in problem.what
    assert "verify was not answered" in [p.what for p in found(told(**refused))]


def test_an_unreachable_host_is_the_worst() -> None:
    problem = unreachable(PLACE, "h1: no SSH connection")
    assert (problem.level, problem.next) == (
        Level.BROKEN, "stackpin status inventories/prod infracore --limit h1",
    )  # fmt: skip
    assert problem.as_json()["level"] == "broken"
