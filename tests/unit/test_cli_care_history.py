"""The journal and the state, read for people: never better than what happened."""

from __future__ import annotations

from typing import Any

import pytest

from stackpin.care.history import collate
from stackpin.care.status import summarise


def line(event: str, run: str | None = "r1", second: int = 0, **more: Any) -> dict[str, Any]:
    return {"t": f"2026-11-21T22:00:{second:02d}+00:00", "run": run, "event": event, **more}


STAGES = ("begin", "rehearsed", "started", "gated", "switched", "confirmed", "retired")


def upto(event: str) -> list[dict[str, Any]]:
    return [line(name, second=at) for at, name in enumerate(STAGES[: STAGES.index(event) + 1])]


@pytest.mark.parametrize(
    ("journal", "outcome"),
    [
        (upto("retired"), "done"),
        (upto("confirmed"), "confirmed, old slot not retired"),
        (upto("switched"), "switched, not confirmed"),
        (upto("gated"), "broken off after: gated"),
        (upto("begin"), "broken off after: begin"),
        (
            [*upto("started"), line("failed", reason="gate: healthz answered 500")],
            "failed, nothing",
        ),
        ([*upto("switched"), line("reverted", reason="guard")], "rolled back"),
        ([*upto("confirmed"), line("reverted", reason="guard")], "rolled back"),
        ([line("reverted"), line("confirmed")], "rolled back"),
        ([line("backup", run=None)], "done"),
    ],
)
def test_outcome_tells_the_truth(journal: list[dict[str, Any]], outcome: str) -> None:
    (entry,) = collate("a", journal)
    assert entry.outcome.startswith(outcome)


def test_a_run_going_on_is_running_not_broken_off() -> None:
    (entry,) = collate("a", upto("gated"), live_run="r1")
    assert entry.outcome == "running, last: gated"


def test_a_finished_run_is_not_running_even_if_named_live() -> None:
    (entry,) = collate("a", upto("retired"), live_run="r1")
    assert entry.outcome == "done"


def test_one_entry_per_run_in_order_with_duration_and_reason() -> None:
    journal = [
        line("begin", "r1", 1, who="ann", command="deploy", release="v1", reason="ticket 7"),
        line("backup", None, 2),
        line("begin", "r2", 3, who="bob", command="update", release="v2", **{"from": "v1"}),
        line("reverted", "r2", 9, reason="guard: not confirmed by deadline"),
        line("retired", "r1", 5),
    ]
    first, backup, second = collate("a", journal)
    assert (first.run, first.seconds, first.who, first.reason) == ("r1", 4.0, "ann", "ticket 7")
    assert (backup.run, backup.seconds, backup.command) == (None, None, "backup")
    assert (second.before, second.reason) == ("v1", "guard: not confirmed by deadline")


def test_odd_lines_do_not_break_history() -> None:
    entries = collate("a", [{}, {"run": "x", "event": "begin"}, {"run": "x", "t": "nonsense"}])
    assert len(entries) == 2


STATE: dict[str, Any] = {
    "installed": True,
    "live_slot": "green",
    "live_release": "v1.1.0-0123abcd",
    "slots": {
        "blue": {"active": "inactive"},
        "green": {"active": "active", "started": "2026-11-21T22:00:00+00:00"},
    },
    "releases": [{"id": "v1.1.0-0123abcd", "version": "v1.1.0"}],
    "journal": upto("retired"),
    "lock": None,
    "maintenance": False,
}


def test_status_of_a_live_stack() -> None:
    got = summarise("a", STATE, pin="v1.1.0")
    assert (got.release, got.version, got.slot) == ("v1.1.0-0123abcd", "v1.1.0", "green")
    assert (got.active, got.pin, got.last) == ("active", "v1.1.0", "begin: done")
    assert got.health is None


def test_status_names_a_pin_that_is_not_live() -> None:
    assert summarise("a", STATE, pin="v1.2.0").pin == "v1.2.0 (not live)"


def test_status_keeps_a_pre_release_version_whole() -> None:
    state = {**STATE, "live_release": "v1.2.0-rc.1-0123abcd", "releases": []}
    assert summarise("a", state).version == "v1.2.0-rc.1"


def test_status_of_an_empty_host_shows_the_lock() -> None:
    got = summarise("a", {"installed": False, "lock": {"owner": "ann", "reason": "deploy"}})
    assert (got.release, got.lock) == ("not installed", "ann (deploy)")


def test_status_with_a_failing_gate() -> None:
    got = summarise("a", STATE, gate={"score": 0.5, "passed": False})
    assert (got.health, got.healthy) == (0.5, False)
