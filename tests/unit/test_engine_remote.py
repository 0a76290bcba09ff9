"""The host program's answers, as errors and values."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest

from facts.stacks import StackState
from stackpin.engine import remote as module
from stackpin.engine.bundle import host_program as build
from stackpin.engine.gather.jobs import Job
from stackpin.engine.gather.memory import Memory
from stackpin.engine.gather.script import Output
from stackpin.engine.remote import (
    Ran,
    Remote,
    RemoteBroken,
    RemoteError,
    RemoteGate,
    RemoteRefused,
)


class Scripted(Remote):
    """A Remote whose commands are answered from a list, and kept."""

    def __init__(self, *answers: Ran) -> None:
        self.name = "h"
        self.memory = Memory()
        self._auth = {}
        self._leases = {"crm": "secret-token"}
        self.answers = list(answers)
        self.asked: list[tuple[str, bytes]] = []

    def _run(self, text: str, stdin: bytes, *_: Any) -> Ran:
        self.asked.append((text, stdin))
        return self.answers.pop(0)


@pytest.fixture(autouse=True)
def program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.bundle, "host_program", lambda: (b"program", "ab" * 32))


def answer(document: Any, status: int = 0) -> Ran:
    return Ran(status, json.dumps(document).encode(), "")


def test_the_payload_goes_on_stdin_with_the_lease() -> None:
    remote = Scripted(answer({"ok": True, "x": 1}))
    assert remote.call("state", "crm", {"a": 2})["x"] == 1
    text, stdin = remote.asked[0]
    assert json.loads(stdin) == {"lock_token": "secret-token", "a": 2}
    assert "secret-token" not in text
    assert "/run/stackpin/host-abababababab.pyz state crm" in text


def test_no_lease_no_token() -> None:
    remote = Scripted(answer({"ok": True}))
    remote.call("state", "portal")
    assert json.loads(remote.asked[0][1]) == {}


def test_a_missing_program_is_uploaded_once() -> None:
    remote = Scripted(Ran(90, b"", ""), answer({"ok": True}))
    remote.call("state", "crm")
    (asked, payload), (placing, stdin) = remote.asked
    assert stdin == b"program" + payload
    assert placing.endswith(asked)
    assert "count=7 " in placing


def test_what_is_placed_answers_in_the_same_exec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, digest = build()
    monkeypatch.setattr(module.bundle, "unpacked", lambda _digest: f"{tmp_path}/run/host.pyz")
    env = {"PATH": os.environ["PATH"], "STACKPIN_ROOT": str(tmp_path)}

    def ran(stdin: bytes) -> subprocess.CompletedProcess[bytes]:
        start = module.program.start(digest, "many", "crm")
        text = f"{module.program.placing(digest, len(body))}; {start}"
        return subprocess.run(
            ["sh", "-c", text], input=stdin, env=env, capture_output=True, check=False
        )

    payload = module.program.asked(QUESTION).encode()
    assert ran(body[:-9] + payload).returncode == module.program.NOT_PLACED
    assert not (tmp_path / "run/host.pyz").exists()
    for _ in range(2):  # another run may have placed it meanwhile
        done = ran(body + payload)
        assert json.loads(done.stdout)["answers"][0]["installed"] is False, done.stderr
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "run/host.pyz/zip").read_bytes() == body
    assert [path.name for path in (tmp_path / "run").iterdir() if path.name == "host.pyz"]


def test_an_upload_that_fails_names_the_remedy() -> None:
    remote = Scripted(Ran(90, b"", ""), Ran(91, b"", "Permission denied"))
    with pytest.raises(RemoteError, match="sudo"):
        remote.call("state", "crm")


@pytest.mark.parametrize(
    ("kind", "error", "code"),
    [
        ("refused", RemoteRefused, 3),
        ("gate", RemoteGate, 4),
        ("broken", RemoteBroken, 5),
        ("error", RemoteError, 1),
        ("new-kind", RemoteError, 1),
    ],
)
def test_kinds(kind: str, error: type[RemoteError], code: int) -> None:
    document = {"ok": False, "error": {"kind": kind, "message": "why", "detail": {"log": ["l"]}}}
    with pytest.raises(error) as caught:
        Scripted(answer(document, code)).call("gate", "crm")
    assert caught.value.exit_code == code
    assert str(caught.value) == "h: why"
    assert caught.value.detail == {"log": ["l"]}


@pytest.mark.parametrize("stdout", [b"", b"Traceback", b"[]", b"\xff"])
def test_no_document(stdout: bytes) -> None:
    with pytest.raises(RemoteError, match="sudo: not allowed"):
        Scripted(Ran(1, stdout, "sudo: not allowed")).call("state", "crm")


def test_a_question_is_answered_from_memory_until_something_changes() -> None:
    remote = Scripted(answer({"ok": True, "n": 2}), answer({"ok": True, "n": 3}))
    remote.memory.keep(0, {}, [(("state", "crm", {}), {"ok": True, "n": 1})])
    assert remote.call("state", "crm")["n"] == 1
    assert remote.call("state", "crm", {"other": 1})["n"] == 2
    assert remote.many([("state", "crm", {})])[0]["n"] == 1
    remote.run(["true"])
    assert remote.memory.answer(("state", "crm", {})) is None


def test_a_change_forgets_and_a_question_does_not() -> None:
    remote = Scripted(*[answer({"ok": True})] * 2)
    remote.memory.keep(0, {}, [(("state", "crm", {}), {"ok": True})])
    remote.call("inspect", "crm")
    assert remote.memory.answer(("state", "crm", {})) is not None
    remote.call("begin", "crm")
    assert remote.memory.answer(("state", "crm", {})) is None


def test_several_questions_may_fail_one_by_one() -> None:
    told = {"ok": True, "answers": [{"ok": True, "n": 1}, {"ok": False, "error": {"message": "x"}}]}
    first, second = Scripted(answer(told)).many([("state", "a", {}), ("state", "b", {})])
    assert first["n"] == 1
    assert isinstance(second, RemoteError)
    assert str(second) == "h: x"


class Gathered(Scripted):
    """A Remote whose gathering execs are answered by a function of the question's calls."""

    def __init__(self, *documents: dict[str, Any] | int) -> None:
        super().__init__(Ran(0, b"", ""))  # for an upload
        self.documents = list(documents)
        self.scripts: list[str] = []

    def _prefix(self, rights: dict[str, Any]) -> str:
        return "sh"

    def _execute(self, command: str, stdin: bytes, *_: Any) -> Ran:
        text = zlib.decompress(stdin, wbits=31).decode()
        self.scripts.append(text)
        # What the host would run instead of the program, then the script itself.
        told = self.documents.pop(0) if self.documents else {}
        instead = f"exit {told}" if isinstance(told, int) else f"printf %s '{json.dumps(told)}'"
        text = re.sub(r"'\[ -e .*? many crm'", lambda _: shlex.quote(instead), text)
        done = subprocess.run(["sh"], input=text.encode(), capture_output=True, check=True)
        return Ran(0, zlib.compress(done.stdout, wbits=31), "")


STATED = Job(StackState().command(stack="crm"), (("_shell_executable", "sh"),))
OTHER = Job("echo other", (("_shell_executable", "sh"),))
QUESTION = [("state", "crm", {})]
ANSWER = {"ok": True, "installed": True, "journal": ["it\u2019s"]}


@pytest.mark.parametrize(("installed", "lines"), [("same", [json.dumps(ANSWER)]), ("none", [])])
def test_the_fact_of_a_state_is_told_by_the_question(installed: str, lines: list[str]) -> None:
    remote = Gathered({"answers": [ANSWER], "installed": installed})
    remote.gather([STATED, OTHER], QUESTION)
    assert len(remote.scripts) == 1
    assert remote.memory.output(STATED) == Output(0, tuple(lines), ())
    assert remote.memory.output(OTHER) == Output(0, ("other",), ())
    assert remote.memory.answer(("state", "crm", {})) == ANSWER


@pytest.mark.parametrize("told", [{"answers": [ANSWER], "installed": "other"}, {}, 1])
def test_another_program_installed_is_asked_itself(told: dict[str, Any] | int) -> None:
    remote = Gathered(told)
    remote.gather([STATED, OTHER], QUESTION)
    assert len(remote.scripts) == 2
    assert "echo other" not in remote.scripts[1]
    output = remote.memory.output(STATED)
    assert output is not None and output.stdout == ()  # no program on this machine


def test_a_host_without_the_program_gets_it_and_is_asked_again() -> None:
    remote = Gathered(90, {"answers": [ANSWER], "installed": "none"})
    remote.gather([STATED, OTHER], QUESTION)
    assert [stdin for _, stdin in remote.asked] == [b"program"]
    assert ["echo other" in script for script in remote.scripts] == [True, False]
    assert remote.memory.answer(("state", "crm", {})) == ANSWER
    assert remote.memory.output(STATED) == Output(0, (), ())


def test_a_program_that_does_not_stay_is_placed_once() -> None:
    remote = Gathered(90, 90)
    remote.gather([STATED], QUESTION)
    assert len(remote.asked) == 1
    assert remote.memory.answer(("state", "crm", {})) is None
