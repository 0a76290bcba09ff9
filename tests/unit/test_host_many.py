"""Several questions in one call, and what a process uses."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from stackpin.host import main, processes, state
from stackpin.host.errors import HostError, failed
from stackpin.host.many import READING


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STACKPIN_ROOT", str(tmp_path))
    return tmp_path


def ask(*calls: tuple[str, str]) -> list[dict[str, Any]]:
    asked = [{"command": command, "stack": stack} for command, stack in calls]
    found: list[dict[str, Any]] = main.perform("many", "crm", {"calls": asked})["answers"]
    return found


def test_answers_come_in_order_and_one_failure_leaves_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def told(stack: Any, _payload: Any) -> dict[str, Any]:
        if stack.name == "two":
            raise failed("no answer", code=7)
        return {"name": stack.name}

    monkeypatch.setitem(state.COMMANDS, "state", told)
    one, two, three = ask(("state", "one"), ("state", "two"), ("state", "three"))
    assert (one["name"], three["name"]) == ("one", "three")
    assert two["error"] == {"kind": "error", "message": "no answer", "detail": {"code": 7}}


def test_what_needs_a_deployed_stack_is_refused_alone() -> None:
    known, unknown = ask(("state", "crm"), ("verify", "crm"))
    assert known.pop("machine")["cpus"]
    assert known == {"ok": True, "installed": False, "lock": None, "nginx_reload_pending": False}
    assert unknown["error"]["kind"] == "refused"


@pytest.mark.parametrize("command", ["many", "backup", "service", "lock-steal", "nonsense"])
def test_changes_are_not_asked_for_together(command: str) -> None:
    with pytest.raises(HostError, match="expected one of"):
        ask(("state", "crm"), (command, "crm"))


def test_only_known_commands_that_need_no_lease_are_for_reading() -> None:
    assert {name for name in READING if main.COMMANDS[name].changes} == set()


def test_a_process_tells_what_it_uses() -> None:
    found = processes.resources(os.getpid())
    assert found is not None
    resident = Path("/proc/self/statm").read_text().split()[1]
    pages = found["rss_bytes"] // os.sysconf("SC_PAGE_SIZE")
    assert abs(pages - int(resident)) < 5000
    assert 0 < found["cpu_seconds"] <= sum(os.times()[:2]) + 0.5
    assert found["started"] == processes.process(os.getpid()).started  # type: ignore[union-attr]
    assert processes.resources(2**22 + 1) is None
