"""The host program's answers, as errors and values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stackpin.engine import remote as module
from stackpin.engine.remote import (
    Ran,
    Remote,
    RemoteBroken,
    RemoteError,
    RemoteGate,
    RemoteRefused,
)


class Scripted(Remote):
    """A Remote whose `run` answers from a list and keeps what it was asked."""

    def __init__(self, *answers: Ran) -> None:
        self.name = "h"
        self._leases = {"crm": "secret-token"}
        self.answers = list(answers)
        self.asked: list[tuple[str, bytes]] = []

    def run(self, argv: Any, stdin: bytes = b"", **_: Any) -> Ran:
        self.asked.append((argv, stdin))
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
    remote = Scripted(Ran(90, b"", ""), Ran(0, b"", ""), answer({"ok": True}))
    remote.call("state", "crm")
    assert [stdin for _, stdin in remote.asked][1] == b"program"
    assert remote.asked[0] == remote.asked[2]


def test_an_upload_that_fails_names_the_remedy() -> None:
    remote = Scripted(Ran(90, b"", ""), Ran(1, b"", "Permission denied"))
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
