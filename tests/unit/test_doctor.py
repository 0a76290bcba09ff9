"""`doctor`: one exec per host, what it prints, its exit codes, and a bundle without secrets."""

from __future__ import annotations

import hashlib
import json
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_cli_care import fleet, run
from test_diagnosis import check, told

from stackpin import redact
from stackpin.care import doctor
from stackpin.errors import Refused
from stackpin.rollout.checking import Checked

__all__ = ["fleet"]

CRM = ("doctor", "inventories/prod", "crm")
TOKEN = "tok-planted/in+the$log"
JWT = "made-on-the-host-0123456789"


@pytest.fixture
def clinic(fleet: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that plays hosts whose answers it is given."""

    def make(answers: dict[str, Any], hosts: Any = ("a",), down: Any = ()) -> Any:
        fake = fleet(answers, hosts=hosts, down=down)
        part = SimpleNamespace(version="v1.0.0", heartbeat_ttl=15)

        @contextmanager
        def opened(*_: Any, **__: Any) -> Iterator[Any]:
            if not hosts:
                raise Refused("\n".join(one.message for one in fake.problems.values()))
            yield fake

        everywhere = {host: {"crm": part} for host in (*hosts, *down)}
        monkeypatch.setattr(doctor, "check_inventory", lambda *_, **__: Checked(everywhere))
        monkeypatch.setattr(doctor, "open_session", opened)
        monkeypatch.setattr(doctor, "questions", lambda *_: {"crm": {}})
        monkeypatch.setattr(doctor, "verify_host", lambda _run, _roll, _release, gate: gate)
        return fake

    return make


def test_a_healthy_deployment_is_one_line_and_one_exec(clinic: Any) -> None:
    fake = clinic(told(), hosts=("a", "b"))
    result = run(*CRM)
    assert result.exit_code == 0, result.output
    assert result.stdout == "crm: healthy on a, b, 2 checks passed\n"
    assert fake.execs == ["a", "b"]
    assert set(fake.commands()) == {"state", "inspect", "verify", "preflight", "clues"}


def test_problems_worst_first_with_log_and_next_step(clinic: Any) -> None:
    failing = {"results": [check("health", ok=False)], "log": ["panic: no such table"]}
    clinic(told(verify=failing, nginx_reload_pending=True))
    result = run(*CRM)
    assert result.exit_code == 2
    lines = result.stdout.splitlines()
    assert lines[0] == "1. broken: a crm: check health fails"
    assert "     | panic: no such table" in lines
    assert "     next     stackpin logs inventories/prod crm --limit a" in lines
    assert any(line.startswith("2. danger: a crm: nginx") for line in lines)
    assert lines[-1] == "crm: 2 problems"


def test_hints_break_nothing_and_are_shown_when_asked(clinic: Any) -> None:
    clinic(told(lock={"owner": "ann", "left": 9}))
    result = run(*CRM)
    assert result.exit_code == 0
    assert result.stdout == "crm: healthy on a, 1 check passed; 1 hint (--all shows them)\n"
    assert "1. hint: a crm: somebody is at work" in run(*CRM, "--all").stdout


@pytest.mark.parametrize("hosts", [("a",), ()])
def test_hosts_out_of_reach_end_with_1(clinic: Any, hosts: Any) -> None:
    clinic(told(), hosts=hosts, down=("b",))
    result = run(*CRM, "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["unreachable"] == {"b": "b: no SSH connection"}
    assert [one["what"] for one in document["problems"]] == ["the host is out of reach"]


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Answers with a known secret in env and log, and one that only its name gives away."""
    monkeypatch.setattr(redact, "_known", frozenset({TOKEN}))
    answers = told(verify={"results": [check("health", ok=False)], "log": [f"sent {TOKEN}"]})
    answers["inspect"]["process"] = {
        "cmdline": ["crm", f"--key={TOKEN}"],
        "environment": {"CRM_ADMIN_TOKEN": JWT},
    }
    answers["clues"]["logs"] = {
        "blue": [f"token was {TOKEN}", f'JWT_SECRET="{JWT}"', f"Authorization: Bearer {JWT}"]
    }
    return answers


def test_the_bundle_has_every_answer_and_no_secret(
    clinic: Any, planted: dict[str, Any], tmp_path: Path
) -> None:
    clinic(planted)
    path = tmp_path / "trouble.tar.gz"
    result = run(*CRM, "--bundle", str(path))
    assert result.exit_code == 2, result.output
    assert TOKEN not in result.output
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["trouble.tar.gz"]
    with tarfile.open(path) as archive:
        files = {
            entry.name.removeprefix("stackpin-doctor/"): archive.extractfile(entry).read()  # type: ignore[union-attr]
            for entry in archive
        }
        assert {entry.mode for entry in archive} == {0o600}
    for name, data in files.items():
        assert TOKEN.encode() not in data and JWT.encode() not in data, name
    assert files["hosts/a/crm/log-blue.txt"].decode().splitlines() == [
        "token was ***", 'JWT_SECRET="***"', "Authorization: Bearer ***",
    ]  # fmt: skip
    inspected = json.loads(files["hosts/a/crm/inspect.json"])
    assert inspected["process"]["environment"] == {"CRM_ADMIN_TOKEN": "***"}
    manifest = json.loads(files.pop("manifest.json"))
    sums = {one["name"]: one["sha256"] for one in manifest["files"]}
    assert sums == {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    assert {f"hosts/a/crm/{name}.json" for name in ("state", "verify", "clues")} <= set(sums)
    assert (manifest["stack"], manifest["hosts"]) == ("crm", ["a"])


def test_a_bundle_replaces_nothing(clinic: Any, tmp_path: Path) -> None:
    fake = clinic(told())
    path = tmp_path / "mine.tar.gz"
    path.write_text("mine")
    assert run(*CRM, "--bundle", str(path)).exit_code == 3
    assert run(*CRM, "--bundle", str(tmp_path / "no/where.tar.gz")).exit_code == 3
    assert path.read_text() == "mine"
    assert fake.execs == []


def test_a_failed_write_leaves_nothing(
    clinic: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    clinic(told())
    monkeypatch.setattr("stackpin.care.support.os.fsync", full)
    result = run(*CRM, "--bundle", str(tmp_path / "x.tar.gz"))
    assert result.exit_code == 1
    assert "No space left" in result.stderr
    assert list(tmp_path.iterdir()) == []
