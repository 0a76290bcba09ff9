"""The commands that look after a stack, run against hosts played by a dictionary."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import gevent.monkey
import pytest
from click.testing import CliRunner, Result

from stackpin.cli import main
from stackpin.engine import session as session_module
from stackpin.engine.connect import ConnectProblem
from stackpin.engine.remote import Ran, RemoteError, RemoteGate, RemoteRefused
from stackpin.engine.session import Mapped
from stackpin.errors import Refused
from stackpin.evidence.record import Record, write
from stackpin.host.questions import LEASES

Play = Callable[[str, str, dict[str, Any]], dict[str, Any]]


@dataclass
class FakeSession:
    """Hosts whose answers a function gives; remembers what was called."""

    play: Play
    hosts: tuple[str, ...]
    problems: dict[str, ConnectProblem]
    calls: list[tuple[str, str, str, dict[str, Any]]]
    inventory: str = "inventories/prod"
    journal: bytes = b""
    in_groups: tuple[str, ...] = ()
    execs: list[str] = field(default_factory=list)
    """Hosts that several questions were put to together, leases aside."""

    def call(
        self, host: str, command: str, stack: str = "-", payload: Any = None, **_: Any
    ) -> dict[str, Any]:
        self.calls.append((host, command, stack, dict(payload or {})))
        if command.startswith("lock-") and command not in {"lock-show", "lock-steal"}:
            return {"ok": True}
        return self.play(host, command, dict(payload or {}))

    def many(self, host: str, calls: Any, **_: Any) -> list[Any]:
        if LEASES.isdisjoint(command for command, _, _ in calls):
            self.execs.append(host)
        found: list[Any] = []
        for command, stack, payload in calls:
            try:
                found.append(self.call(host, command, stack, payload))
            except RemoteError as error:
                found.append(error)
        return found

    def run(self, host: str, argv: object, **_: Any) -> Ran:
        return Ran(0, self.journal, "")

    def groups(self, host: str) -> tuple[str, ...]:
        return self.in_groups

    def data(self, host: str) -> dict[str, Any]:
        return {"crm_version": "v1.0.0"}

    def hold(self, *_: object) -> None: ...

    def map(self, function: Callable[[str], Any], hosts: Any = None) -> Mapped[Any]:
        mapped: Mapped[Any] = Mapped()
        for host in self.hosts if hosts is None else hosts:
            try:
                mapped.values[host] = function(host)
            except Exception as error:
                mapped.errors[host] = error
        return mapped

    def commands(self) -> list[str]:
        return [command for _, command, _, _ in self.calls if not command.startswith("lock-")]


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeSession]:
    monkeypatch.setattr(gevent.monkey, "patch_all", lambda **_: True)

    def make(
        play: Play | Mapping[str, Any], hosts: tuple[str, ...] = ("a",), down: tuple[str, ...] = ()
    ) -> FakeSession:
        def from_table(host: str, command: str, payload: dict[str, Any]) -> dict[str, Any]:
            answer = play[command]  # type: ignore[index]
            if isinstance(answer, Exception):
                raise answer
            return answer(host, payload) if callable(answer) else answer

        chosen = play if callable(play) else from_table
        problems = {
            name: ConnectProblem(name, "unreachable", f"{name}: no SSH connection") for name in down
        }
        fake = FakeSession(chosen, hosts, problems, [])

        @contextmanager
        def opened(
            inventory: str,
            limit: Any = (),
            data: Any = None,
            *,
            partial: bool = False,
            stack: Any = None,
        ) -> Iterator[FakeSession]:
            if problems and not partial:
                raise Refused("\n".join(p.message for p in problems.values()))
            yield fake

        monkeypatch.setattr(session_module, "open_session", opened)
        return fake

    return make


def run(*words: str, stdin: str = "") -> Result:
    return CliRunner().invoke(main, words, input=stdin)


STATE: dict[str, Any] = {
    "installed": True,
    "live_slot": "blue",
    "live_release": "v1.0.0-0123abcd",
    "slots": {"blue": {"active": "active", "started": "2026-11-21T22:00:00+00:00"}},
    "releases": [{"id": "v1.0.0-0123abcd", "version": "v1.0.0"}],
    "journal": [],
    "lock": None,
    "maintenance": False,
}


def test_status_shows_an_unreachable_host_and_ends_with_1(fleet: Any) -> None:
    fleet({"state": STATE}, hosts=("a",), down=("b",))
    result = run("status", "inventories/prod", "crm", "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == 1
    assert document["hosts"][0]["pin"] == "v1.0.0"
    assert document["hosts"][1]["error"] == "b: no SSH connection"
    assert "b: no SSH connection" in result.stderr


def test_status_check_ends_with_5_when_the_gate_fails(fleet: Any) -> None:
    fleet({"state": STATE, "verify": {"passed": False, "score": 0.4}})
    result = run("status", "inventories/prod", "crm", "--check")
    assert result.exit_code == 5
    assert "health 0.40 FAILED" in result.stdout


def test_status_of_a_site_has_a_row_for_each_part(fleet: Any) -> None:
    fleet({"state": STATE})
    result = run("status", "inventories/prod", "site", "--json")
    assert [row["stack"] for row in json.loads(result.stdout)["hosts"]] == ["portal", "crm"]


def test_an_unknown_stack_is_refused(fleet: Any) -> None:
    fake = fleet({})
    result = run("status", "inventories/prod", "cmr")
    assert result.exit_code == 3
    assert "Did you mean crm" in result.stderr
    assert fake.calls == []


def test_history_reads_the_journal_and_survives_a_torn_line(fleet: Any) -> None:
    fake = fleet({"state": STATE})
    lines = [
        {"t": "2026-11-21T22:00:00+00:00", "run": "r1", "event": "begin", "command": "deploy"},
        {"t": "2026-11-21T22:00:30+00:00", "run": "r1", "event": "retired"},
    ]
    fake.journal = "\n".join(map(json.dumps, lines)).encode() + b'\n{"t": "20'
    result = run("history", "inventories/prod", "crm", "--json")
    (entry,) = json.loads(result.stdout)["runs"]
    assert (entry["outcome"], entry["seconds"], entry["command"]) == ("done", 30.0, "deploy")


def test_stop_without_anybody_to_ask_is_refused_untouched(fleet: Any) -> None:
    fake = fleet({})
    result = run("stop", "inventories/prod", "crm")
    assert result.exit_code == 3
    assert "--yes" in result.stderr
    assert fake.calls == []


def test_restart_goes_host_by_host_and_stops_at_the_first_failure(fleet: Any) -> None:
    def restart(host: str, _payload: dict[str, Any]) -> dict[str, Any]:
        if host == "b":
            raise RemoteGate("b", "healthz answered 500")
        return {"ok": True}

    fake = fleet({"service": restart}, hosts=("a", "b", "c"))
    result = run("restart", "inventories/prod", "crm")
    assert result.exit_code == 4
    assert [host for host, command, _, _ in fake.calls if command == "service"] == ["a", "b"]
    assert "done: a; untouched: c" in result.stderr
    assert [command for _, command, _, _ in fake.calls].count("lock-acquire") == 3
    assert [command for _, command, _, _ in fake.calls].count("lock-release") == 3


def test_prune_without_consent_removes_nothing(fleet: Any) -> None:
    dry = {"removed": ["v0.9.0-aa"], "kept": [{"id": "v1.0.0-bb", "why": "live"}]}
    fake = fleet({"prune": dry})
    result = run("prune", "inventories/prod", "crm")
    assert result.exit_code == 3
    assert "remove v0.9.0-aa" in result.stdout
    assert "keep v1.0.0-bb (live)" in result.stdout
    assert all(payload.get("dry") for _, _, _, payload in fake.calls)


def test_prune_with_nothing_to_remove_does_not_ask(fleet: Any) -> None:
    fake = fleet({"prune": {"removed": [], "kept": []}})
    assert run("prune", "inventories/prod", "crm").exit_code == 0
    assert len(fake.calls) == 1


def test_uninstall_needs_consent_and_passes_the_sum_of_the_list(fleet: Any) -> None:
    listed = {
        "remove": [{"path": "/opt/crm", "why": "releases"}],
        "keep": [{"path": "/var/backups/stackpin/crm", "why": "backups"}],
        "sha256": "feed",
    }
    fake = fleet({"uninstall-list": listed, "uninstall": {"ok": True}})
    refused = run("uninstall", "inventories/prod", "crm")
    assert refused.exit_code == 3
    assert "remove /opt/crm (releases)" in refused.stdout
    assert fake.commands() == ["uninstall-list"]
    done = run("uninstall", "inventories/prod", "crm", "--yes")
    assert done.exit_code == 0
    _, command, _, payload = next(call for call in fake.calls if call[1] == "uninstall")
    assert command == "uninstall"
    assert payload["expect"] == "feed"
    assert payload["keep_backups"] is True


def test_uninstall_of_a_site_goes_backwards(fleet: Any) -> None:
    listed = {"remove": [{"path": "/x", "why": "y"}], "keep": [], "sha256": "s"}
    fake = fleet({"uninstall-list": listed, "uninstall": {"ok": True}})
    assert run("uninstall", "inventories/prod", "site", "--yes").exit_code == 0
    assert [part for _, c, part, _ in fake.calls if c == "uninstall"] == ["crm", "portal"]


def test_the_list_of_a_part_counts_what_goes_before_it_as_gone(fleet: Any) -> None:
    listed = {"remove": [{"path": "/x", "why": "y"}], "keep": [], "sha256": "s"}
    fake = fleet({"uninstall-list": listed, "uninstall": {"ok": True}}, hosts=("a", "b"))
    assert run("uninstall", "inventories/prod", "site", "--yes", "--keep-data").exit_code == 0
    assert fake.execs == ["a", "b"]
    gone = {"crm": [], "portal": ["crm"]}
    for _, command, part, payload in fake.calls:
        if command.startswith("uninstall"):
            assert payload["gone"] == gone[part]
            assert (payload["keep_data"], payload["keep_backups"]) == (True, True)
    # The front goes last on every host, not host by host.
    done = [(host, part) for host, c, part, _ in fake.calls if c == "uninstall"]
    assert done == [("a", "crm"), ("b", "crm"), ("a", "portal"), ("b", "portal")]


def test_lock_show_is_the_default_and_steal_asks(fleet: Any) -> None:
    lease = {"owner": "ann@desk", "reason": "deploy", "age": 12.0, "left": 48.0}
    fake = fleet({"lock-show": {"lock": lease}, "lock-steal": {"ok": True}})
    shown = run("lock", "inventories/prod", "crm")
    assert shown.exit_code == 0
    assert "held by ann@desk (deploy) for 12 s" in shown.stdout
    assert run("lock", "steal", "inventories/prod", "crm", "--reason", "x").exit_code == 3
    done = run("lock", "steal", "inventories/prod", "crm", "--reason", "x", "--yes")
    assert done.exit_code == 0
    assert [c for _, c, _, _ in fake.calls][-2:] == ["lock-steal", "lock-release"]


def test_lock_steal_without_a_lease_does_nothing(fleet: Any) -> None:
    fake = fleet({"lock-show": {"lock": None}})
    result = run("lock", "steal", "inventories/prod", "crm", "--reason", "x", "--yes")
    assert result.exit_code == 0
    assert [c for _, c, _, _ in fake.calls] == ["lock-show"]


VIEW = {
    "id": "4f9c2a1b",
    "time": "2026-11-20T00:00:00Z",
    "release": "v1.0.0-0123abcd",
    "lost": {"drafts": {"now": 9, "then": 7}},
}


def restore_play(outcome: Exception | None = None, maintenance: bool = False) -> dict[str, Any]:
    def restore(_host: str, payload: dict[str, Any]) -> dict[str, Any]:
        if payload.get("dry"):
            return VIEW
        if outcome:
            raise outcome
        return {"ok": True}

    return {
        "restore": restore,
        "state": {**STATE, "maintenance": maintenance},
        "maintenance": {"ok": True},
    }


def test_restore_shows_what_is_lost_and_asks(fleet: Any) -> None:
    fake = fleet(restore_play())
    result = run("restore", "inventories/prod", "crm", "latest")
    assert result.exit_code == 3
    assert "drafts: 9 rows now, 7 in the backup" in result.stdout
    assert fake.commands() == ["restore"]


def switches(fake: FakeSession) -> list[bool]:
    return [payload["on"] for _, command, _, payload in fake.calls if command == "maintenance"]


@pytest.mark.parametrize(
    ("play", "code", "switched"),
    [
        (restore_play(), 0, [True, False]),
        (restore_play(maintenance=True), 0, []),
        (restore_play(RemoteGate("a", "did not serve")), 4, [True, False]),
        (restore_play(RemoteError("a", "no idea")), 1, [True]),
    ],
)
def test_restore_ends_the_maintenance_it_began(
    fleet: Any, play: dict[str, Any], code: int, switched: list[bool]
) -> None:
    fake = fleet(play)
    assert run("restore", "inventories/prod", "crm", "4f9c2a1b", "--yes").exit_code == code
    assert switches(fake) == switched


@pytest.mark.parametrize("command", [("restore", "--yes"), ("tunnel",)])
def test_one_host_commands_refuse_several(fleet: Any, command: tuple[str, ...]) -> None:
    fleet({}, hosts=("a", "b"))
    name, *options = command
    extra = ["latest"] if name == "restore" else []
    result = run(name, "inventories/prod", "crm", *extra, *options)
    assert result.exit_code == 3
    assert "--limit" in result.stderr


def test_backup_without_a_word_takes_one(fleet: Any) -> None:
    fake = fleet({"backup": {"id": "4f9c2a1b77", "ok": True}})
    result = run("backup", "inventories/prod", "crm", "--reason", "r")
    assert result.exit_code == 0
    assert "backup 4f9c2a1b taken" in result.stdout
    assert fake.calls[0][3]["reason"] == "r"


def test_backup_verify_reports_a_damaged_repository(fleet: Any) -> None:
    fleet({"backup-verify": RemoteError("a", "restic check: pack 1 is damaged")})
    result = run("backup", "verify", "inventories/prod", "crm")
    assert result.exit_code == 1
    assert "pack 1 is damaged" in result.stderr


def test_backup_list_table(fleet: Any) -> None:
    entry = {"id": "4f9c2a1b", "time": "2026-11-21T22:00:00.1Z", "release": "v1", "reason": "r"}
    fleet({"backup-list": {"backups": [entry]}})
    assert "2026-11-21 22:00:00" in run("backup", "list", "inventories/prod", "crm").stdout


def test_a_lone_refusal_is_3_and_a_mixed_one_is_1(fleet: Any) -> None:
    def play(host: str, _command: str, _payload: dict[str, Any]) -> dict[str, Any]:
        if host == "b":
            raise RemoteRefused("b", "restic: not installed")
        return {"id": "x"}

    fleet(play, hosts=("b",))
    assert run("backup", "inventories/prod", "crm").exit_code == 3
    fleet(play, hosts=("a", "b"))
    assert run("backup", "inventories/prod", "crm").exit_code == 1


def test_maintenance_is_given_to_the_service_part(fleet: Any) -> None:
    fake = fleet({"maintenance": {"ok": True}})
    assert run("maintenance", "on", "inventories/prod", "site", "--reason", "r").exit_code == 0
    assert [(part, p["on"]) for _, c, part, p in fake.calls if c == "maintenance"] == [
        ("crm", True)
    ]


def test_evidence_verify_and_list(tmp_path: Path) -> None:
    made = Record(
        inventory="prod",
        stack="crm",
        version="v1.1.0",
        run="r",
        outcome="done",
        who="ann",
        created=datetime(2026, 11, 21, tzinfo=UTC),
        documents={"plan.json": []},
    )
    record = write(tmp_path, made)
    assert run("evidence", "verify", str(tmp_path)).exit_code == 0
    assert "v1.1.0" in run("evidence", "list", "inventories/prod", "--root", str(tmp_path)).stdout
    (record / "plan.json").write_text("{}")
    bad = run("evidence", "verify", str(record), "--json")
    assert bad.exit_code == 1
    assert "altered" in json.loads(bad.stdout)["records"][0]["problems"][0]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    result = run("completion", shell)
    assert result.exit_code == 0
    assert "_STACKPIN_COMPLETE" in result.stdout


CARE = [
    "drift",
    "status",
    "history",
    "logs",
    "start",
    "stop",
    "restart",
    "backup",
    "restore",
    "lock",
    "tunnel",
    "maintenance",
    "prune",
    "uninstall",
    "evidence",
    "completion",
]


@pytest.mark.parametrize("name", CARE)
def test_help_has_examples_on_lines_of_their_own(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    assert any(
        line.lstrip().startswith(("stackpin ", "eval ")) for line in result.stdout.split("\n")
    )
    assert "\b" not in result.stdout
    assert "\\b" not in result.stdout


def test_subcommands_of_default_groups_have_help() -> None:
    for words in (("backup", "verify"), ("lock", "steal"), ("backup",), ("lock",)):
        assert run(*words, "--help").exit_code == 0
        assert isinstance(main.get_command(click.Context(main), words[0]), click.Group)
