"""What is remembered of a host, for how long, and what is written down for the next run."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.command import MaskString, QuoteString, StringCommand

from stackpin import redact
from stackpin.engine.gather import memory as module
from stackpin.engine.gather.fact_list import FactList, note, render
from stackpin.engine.gather.jobs import Job, job, secret
from stackpin.engine.gather.memory import Memory
from stackpin.engine.gather.script import Output

SH = {"_shell_executable": "sh"}
JOB = Job("true", ())
OUT = Output(0, ("x",), ())


def test_a_change_forgets() -> None:
    memory = Memory()
    memory.keep(memory.generation, {JOB: OUT})
    assert memory.output(JOB) == OUT
    with memory.changing():
        assert memory.output(JOB) is None
        memory.keep(memory.generation, {JOB: OUT})  # read while something changes
    assert memory.output(JOB) is None


def test_what_was_read_before_a_change_is_not_kept() -> None:
    memory = Memory()
    before = memory.generation
    memory.forget()
    memory.keep(before, {JOB: OUT}, [(("state", "crm", {}), {"ok": True})])
    assert memory.output(JOB) is None
    assert memory.answer(("state", "crm", {})) is None


def test_outputs_grow_old(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, now = Memory(), [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    memory.keep(0, {JOB: OUT})
    now[0] += module.MAX_AGE
    assert memory.output(JOB) == OUT
    now[0] += 1
    assert memory.output(JOB) is None


@pytest.mark.parametrize(
    "arguments",
    [
        {**SH, "_stdin": "x"},
        {**SH, "_get_pty": True},
        {**SH, "_sudo": True, "_sudo_password": "x"},
        {**SH, "_success_exit_codes": [0, 1]},
        {},
    ],
)
def test_what_has_to_run_alone(arguments: dict[str, Any]) -> None:
    assert job("true", arguments) is None


def test_rights_tell_jobs_apart() -> None:
    one = job("id", {**SH, "_sudo": True, "_env": {"B": "2", "A": "1"}})
    two = job("id", {**SH, "_env": {"A": "1", "B": "2"}, "_sudo": True, "_timeout": 5})
    assert one == two
    assert one != job("id", SH)
    assert one is not None
    assert one.arguments["_env"] == {"A": "1", "B": "2"}


def test_masked_commands_are_secret() -> None:
    assert secret(StringCommand("login", MaskString("x")))
    assert secret(StringCommand("login", QuoteString(MaskString("x"))))
    assert not secret(StringCommand("login", QuoteString("x")))


class Host:
    """Keeps the facts it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[type, dict[str, Any]]] = []

    def get_fact(self, cls: type, **kwargs: Any) -> None:
        self.asked.append((cls, kwargs))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "stackpin" / "facts"


def noted(cls: type, *args: Any, **kwargs: Any) -> dict[str, dict[str, Any]]:
    memory = Memory()
    note(memory, cls, args, kwargs, {"_sudo": True})
    return memory.used.get("", {})


def test_the_fact_list_names_facts_and_survives(cache: Path) -> None:
    from facts.files import Tree

    facts = FactList("inventories/lab", "crm")
    facts.update("a", {"crm": noted(Tree, ["/etc"]), "portal": noted(Tree, paths=["/opt"])})
    facts.save()
    (path,) = cache.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700

    again = FactList("inventories/lab", "crm")
    again.update("a", {"portal": {}})  # what was not loaded in this run stays known
    host: Any = Host()
    render(host, again.entries("a", ["crm", "portal"]))
    assert host.asked == [(Tree, {"paths": ["/etc"], "_sudo": True})]
    assert FactList("inventories/prod", "crm").entries("a", ["crm"]) == []


def test_nothing_secret_is_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    from facts.files import Tree

    monkeypatch.setattr(redact, "_known", frozenset({"hunter2hunter2"}))
    assert noted(Tree, paths=["/srv/hunter2hunter2"]) == {}
    assert noted(Tree, password="x") == {}
    assert noted(Tree, paths=[object()]) == {}


@pytest.mark.parametrize(
    "fact",
    [
        "os:system",
        "subprocess:Popen",
        "facts.files:Node",
        "facts.nothing:X",
        "facts.files:Gone",
        "",
    ],
)
def test_a_fact_list_names_nothing_but_facts(fact: str) -> None:
    host: Any = Host()
    render(host, [{"fact": fact, "kwargs": {}, "rights": {}}, {"damaged": 1}])
    assert host.asked == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 9}', '{"version": 1, "hosts": 5}'])
def test_a_damaged_fact_list_is_an_empty_one(cache: Path, text: str) -> None:
    facts = FactList("i", "crm")
    facts.update("a", {"crm": {"x": {"fact": "f"}}})
    facts.save()
    (path,) = cache.iterdir()
    path.write_text(text)
    assert FactList("i", "crm").entries("a", ["crm"]) == []


def test_what_is_too_old_makes_all_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, now = Memory(), 100.0
    monkeypatch.setattr("stackpin.engine.gather.memory.time.monotonic", lambda: now)
    memory.keep(0, {Job("id", ()): Output(0, ("0",), ())})
    now = 105.0
    memory.keep(0, {}, [(("state", "crm", {}), {"ok": True})])
    memory.expire(10.0)
    assert memory.known()
    now = 111.0
    memory.expire(10.0)
    assert not memory.known()
    assert memory.answer(("state", "crm", {})) is None
