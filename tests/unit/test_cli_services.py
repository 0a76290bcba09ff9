"""The everyday commands for several services on one host: which are meant, and in which order."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.shell_completion import ShellComplete
from infra_kit import SERVICES, infracore
from test_cli_care import STATE, fleet, run

from stackpin.care import parts
from stackpin.care import stream as streams
from stackpin.cli import main
from stackpin.config.stacks import STACKS
from stackpin.engine.remote import RemoteGate
from stackpin.errors import Refused

__all__ = ["fleet", "infracore"]

pytestmark = pytest.mark.usefixtures("infracore")
INFRA = ("inventories/prod", "infracore")
REAL = STACKS["infracore"]  # the tests themselves use the kit's


@pytest.fixture
def hosts(fleet: Any) -> Any:
    def make(play: Any, **more: Any) -> Any:
        fake = fleet(play, **more)
        fake.in_groups = ("infracore",)
        return fake

    return make


def acted(fake: Any) -> list[str]:
    return [part for _, command, part, _ in fake.calls if command == "service"]


@pytest.mark.parametrize("action", ["start", "restart", "stop"])
def test_all_services_follow_the_rollout_and_stop_backwards(hosts: Any, action: str) -> None:
    fake = hosts({"service": {"ok": True}})
    result = run(action, *INFRA, *(["--yes"] if action == "stop" else []))
    assert result.exit_code == 0, result.output
    order = SERVICES[::-1] if action == "stop" else SERVICES
    assert acted(fake) == [f"infracore-{name}" for name in order]
    held = [part for _, command, part, _ in fake.calls if command == "lock-acquire"]
    assert sorted(held) == sorted(acted(fake))


def test_one_service_is_named_as_it_is_called(hosts: Any) -> None:
    fake = hosts({"service": {"ok": True, "slot": "blue"}})
    result = run("restart", *INFRA, "console", "--json")
    document = json.loads(result.stdout)
    assert acted(fake) == ["infracore-console"]
    assert document["stack"] == "infracore-console"
    assert document["hosts"]["a"]["slot"] == "blue"
    assert list(document["services"]["a"]) == ["infracore-console"]


@pytest.mark.parametrize("command", ["logs", "start", "stop", "restart"])
def test_an_unknown_service_is_refused_with_a_proposal(hosts: Any, command: str) -> None:
    fake = hosts({})
    result = run(command, *INFRA, "consol")
    assert result.exit_code == 3
    assert "Did you mean console?" in result.stderr
    assert fake.calls == []


def test_files_are_no_service_and_a_single_service_has_its_name(hosts: Any) -> None:
    hosts({"service": {"ok": True}})
    assert "found none of snap" in run("restart", *INFRA, "files").stderr
    assert run("restart", "inventories/prod", "crm", "crm").exit_code == 0


def test_the_first_failure_names_what_is_done_and_what_is_untouched(hosts: Any) -> None:
    def act(_host: str, _payload: Any) -> Any:
        if len(acted(fake)) == 2:
            raise RemoteGate("a", "probe answered 500")
        return {"ok": True}

    fake = hosts({"service": act})
    result = run("restart", *INFRA)
    assert result.exit_code == 4
    assert "done: a snap; untouched: a orchestrator, a console, a gate" in result.stderr


def test_status_asks_each_host_once_and_shows_every_service(hosts: Any) -> None:
    used = {"rss_bytes": 50 * 2**20, "cpu_seconds": 3.25, "started": "2026-11-21T22:00:00Z"}
    slot = {"active": "active", "restarts": 2, "resources": used}
    journal = [
        {"t": "2026-11-21T21:00:00.1Z", "run": "r1", "event": "begin", "command": "update"},
        {"t": "2026-11-21T21:00:30.1Z", "run": "r1", "event": "retired"},
        {"t": "2026-11-21T22:00:00.1Z", "run": "self-1", "event": "retired", "command": "restart"},
    ]
    state = {**STATE, "slots": {"blue": slot}, "journal": journal}
    fake = hosts({"state": state, "verify": {"passed": True, "score": 0.96}}, hosts=("a", "b"))
    shown = run("status", *INFRA)
    assert shown.exit_code == 0, shown.output
    assert fake.execs == ["a", "b"]
    assert len(fake.calls) == 2 * 6 * 2
    line = next(line for line in shown.stdout.splitlines() if line.startswith("console"))
    for cell in ("v1.0.0", "blue", "active", "96% ok", "50.0 MiB", "3.2 s"):
        assert cell in line
    assert "2026-11-21 21:00:00 update: done" in line
    (first, *_) = json.loads(run("status", *INFRA, "--json").stdout)["hosts"]
    assert (first["restarts"], first["memory_bytes"]) == (2, 50 * 2**20)


def test_a_failed_gate_of_one_service_ends_with_5(hosts: Any) -> None:
    fake = hosts(
        {
            "state": STATE,
            "verify": lambda *_: {"passed": fake.calls[-1][2] != "infracore-gate", "score": 0.9},
        }
    )
    result = run("status", *INFRA)
    assert result.exit_code == 5
    assert "gate not passed on a;" in result.stderr


def test_logs_of_all_services_are_merged_by_time(
    hosts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {
        "infracore-snap": ["2026-11-21T22:00:01+0000 one", "  its second line"],
        "infracore-gate": ["2026-11-21T22:00:00+0000 zero", "2026-11-21T22:00:02+0000 two"],
    }

    def read(_session: Any, _host: str, part: str, _options: Any, show: Any) -> None:
        for line in told.get(part, []):
            show(line)

    monkeypatch.setattr(streams, "_read", read)
    hosts({})
    result = run("logs", *INFRA)
    assert result.stdout.splitlines() == [
        "gate: 2026-11-21T22:00:00+0000 zero",
        "snap: 2026-11-21T22:00:01+0000 one",
        "snap:   its second line",
        "gate: 2026-11-21T22:00:02+0000 two",
    ]
    alone = run("logs", *INFRA, "snap")
    assert alone.stdout.splitlines() == told["infracore-snap"]


def test_one_log_that_cannot_be_read_leaves_the_others(
    hosts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(_session: Any, host: str, part: str, _options: Any, show: Any) -> None:
        if part == "infracore-probe":
            raise RemoteGate(host, "no journal")
        show(f"2026-11-21T22:00:00+0000 {part}")

    monkeypatch.setattr(streams, "_read", read)
    hosts({})
    result = run("logs", *INFRA, "-f")
    assert len(result.stdout.splitlines()) == 4
    assert "a: no journal" in result.stderr
    assert result.exit_code == 4


def test_backups_are_the_keepers(hosts: Any) -> None:
    fake = hosts({"backup": {"id": "4f9c2a1b77", "ok": True}})
    assert run("backup", *INFRA).exit_code == 0
    assert [part for _, _, part, _ in fake.calls] == ["infracore-files"]


@pytest.mark.parametrize(
    ("begun", "found"),
    [("", list(SERVICES)), ("co", ["console"])],
)
def test_shells_complete_services(begun: str, found: list[str]) -> None:
    complete = ShellComplete(main, {}, "stackpin", "_STACKPIN_COMPLETE")
    offered = complete.get_completions(["logs", *INFRA], begun)
    assert [item.value for item in offered if item.type == "plain"] == found
    stacks = complete.get_completions(["logs", "inventories/prod"], "infrac")
    assert "infracore" in [item.value for item in stacks]


def test_uninstall_goes_backwards_and_the_account_goes_with_the_files(hosts: Any) -> None:
    def listed(_host: str, payload: Any) -> dict[str, Any]:
        part = fake.calls[-1][2]
        last = [{"user": "infracore", "why": "account"}] if len(payload["gone"]) == 5 else []
        return {"remove": [{"path": f"/{part}", "why": "releases"}, *last], "sha256": part}

    fake = hosts({"uninstall-list": listed, "uninstall": {"ok": True}})
    dry = run("uninstall", *INFRA, "--dry")
    assert dry.exit_code == 0, dry.output
    assert "remove /infracore-console (releases)" in dry.stdout
    assert dry.stdout.rstrip().endswith("remove user infracore (account)")
    assert "uninstall" not in fake.commands()
    done = run("uninstall", *INFRA, "--yes")
    assert done.exit_code == 0, done.output
    gone = [part for _, command, part, _ in fake.calls if command == "uninstall"]
    assert gone == [f"infracore-{name}" for name in (*SERVICES[::-1], "files")]


def test_maintenance_is_the_keepers(hosts: Any) -> None:
    fake = hosts({"maintenance": {"ok": True}})
    shown = run("maintenance", "on", *INFRA)
    assert shown.stdout == "a: infracore-files: maintenance on\n"
    assert [part for _, c, part, _ in fake.calls if c == "maintenance"] == ["infracore-files"]


def test_a_tunnel_leads_to_the_console_or_the_named_service() -> None:
    assert parts.entry_part("infracore", "gate") == "infracore-gate"
    assert parts.entry_part("crm") == "crm"
    assert parts.entry_part("site") == "crm"
    with pytest.raises(Refused, match="Did you mean console"):
        parts.entry_part("infracore", "consol")
    assert REAL.entry == "infracore-console"
