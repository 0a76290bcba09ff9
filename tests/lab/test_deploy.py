"""The story on real hosts: first deploy, nothing to do, update, refusals of bad releases, back."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator

import pytest
from engine_kit import GATE, Kit
from project import host_name

from stackpin.lab import Lab

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def kit(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    kit = Kit.make(lab, lab.reset(host_name(lab)), tmp_path_factory.mktemp("deploy"))
    kit.pin("v1.0.0")
    yield kit


def processes(kit: Kit) -> str:
    return kit.on_host(
        "systemctl show -p MainPID -p ExecMainStartTimestamp crm@blue crm@green nginx"
    )


def test_plan_of_a_bare_host(kit: Kit) -> None:
    ran = kit.stackpin("plan", "site", "--json").exits(2)
    plan = ran.json["plan"]
    releases = plan["hosts"][kit.host.name]["releases"]
    assert releases["crm"]["now"] is None
    assert releases["crm"]["wanted"].startswith("v1.0.0-")
    assert kit.on_host("ls /opt /etc/stackpin 2>&1 || true").count("crm") == 0


def test_first_deploy(kit: Kit) -> None:
    ran = kit.deploy("site").exits(0)
    assert "serves the wanted release" in ran.out
    assert kit.live().startswith("v1.0.0-")
    events = [line["event"] for line in kit.state()["journal"]]
    assert events[-7:] == [
        "begin", "rehearsed", "started", "gated", "switched", "confirmed", "retired",
    ]  # fmt: skip
    records = sorted((kit.folder / "evidence/lab").glob("*/*/manifest.json"))
    assert [path.parts[-3] for path in records] == ["crm", "portal"]
    assert not (kit.folder / "pyinfra-debug.log").exists()


def test_nothing_to_do(kit: Kit) -> None:
    before = processes(kit)
    ran = kit.deploy("site", "--json").exits(0)
    assert ran.json["in_sync"]
    gate = ran.json["hosts"][kit.host.name]["crm"]["gate"]
    assert gate["passed"]
    assert len(gate["results"]) >= 7
    assert processes(kit) == before
    assert kit.stackpin("plan", "site").exits(0).out.count("In sync") == 1


def test_reviewed_plan(kit: Kit) -> None:
    kit.pin("v1.1.0")
    kit.stackpin("plan", "crm", "--out", "plan.json").exits(2)
    kit.deploy("crm", "--plan", "plan.json").exits(0)
    assert kit.live().startswith("v1.1.0-")
    # It says what was reviewed, not what to repeat.
    kit.deploy("crm", "--plan", "plan.json").exits(3)


def test_rollback_and_update(kit: Kit) -> None:
    with kit.never_down():
        ran = kit.stackpin("rollback", "crm", "--yes").exits(0)
        assert kit.live().startswith("v1.0.0-")
        # Its pin is left alone: --limit might leave other hosts on the newer one.
        assert "crm_version stays v1.1.0" in ran.err
        kit.pin("v1.0.0")
        kit.stackpin("update", "crm", "--version", "v1.1.0", "--yes").exits(0)
    assert kit.pinned() == "v1.1.0"
    assert kit.live().startswith("v1.1.0-")


@pytest.mark.parametrize(
    ("version", "stage", "told"),
    [
        ("v1.2.0", "rehearse", "status 500"),
        ("v1.3.0", "rehearse", "the process is gone"),
        ("v1.4.0", "gate", "restart"),
    ],
)
def test_bad_release(kit: Kit, version: str, stage: str, told: str) -> None:
    before, pinned = kit.live(), kit.pinned()
    data = {"crm_gate": {**GATE, "min_healthy": 12.0, "timeout": 30.0}} if stage == "gate" else {}
    database = "sha256sum /var/lib/crm/data/crm.db"
    file_before = kit.on_host(database) if stage == "rehearse" else ""
    with kit.never_down():
        ran = kit.stackpin("update", "crm", "--version", version, "--yes", "--json", **data)
    ran.exits(4)
    own = ran.json["hosts"][kit.host.name]["crm"]
    assert own["stage"] == stage
    assert told in own["error"], own["error"]
    assert own["outcome"] == "rolled-back"
    assert own["serving"] == before == kit.live()
    assert kit.pinned() == pinned
    if file_before:
        assert kit.on_host(database) == file_before
    if version == "v1.2.0":
        packs = next(check for check in own["gate"]["results"] if check["name"] == "packs")
        assert packs["expected"].startswith("status 200")
        assert packs["got"].startswith("status 500")
    assert own["log"]


def test_slow_start_is_waited_for(kit: Kit) -> None:
    kit.stackpin("update", "crm", "--version", "v1.5.0", "--yes").exits(0)
    kit.stackpin("rollback", "crm", "--to", "v1.1.0", "--yes").exits(0)
    kit.pin("v1.1.0")


def test_public_gate(kit: Kit) -> None:
    """The host is content, the world is not: only the operator can see it, and the host reverts."""
    before = kit.live()
    kit.pin("v1.0.0")
    extra = [{"name": "world", "kind": "http", "where": "public", "status": 418,
              "url": "https://portal.example.net/portal/"}]  # fmt: skip
    with kit.never_down():
        ran = kit.deploy(crm_extra_checks=extra).exits(4)
    assert "world" in ran.out
    assert "expected status 418" in ran.out
    assert kit.live() == before
    kit.pin("v1.1.0")


def test_verify(kit: Kit) -> None:
    out = kit.stackpin("verify", "site").exits(0).out
    names = ("healthz", "packs", "hosts", "packs-without-token", "metrics")
    for name in (*names, "public-portal", "public-healthz"):
        assert re.search(rf"ok +{name} ", out), out
    slot = kit.state()["live_slot"]
    kit.on_host(f"systemctl stop crm@{slot}")
    try:
        assert "FAIL" in kit.stackpin("verify", "crm").exits(5).out
    finally:
        kit.on_host(f"systemctl start crm@{slot}; sleep 1")


def test_interrupt(kit: Kit) -> None:
    before = kit.live()
    kit.pin("v1.0.0")
    kit.hook("public", "sleep 3")
    with kit.never_down():
        tool = kit.start("deploy", "crm", "--yes")
        kit.wait_for(lambda: (kit.state()["pending"] or {}).get("run"), 60)
        time.sleep(1)
        tool.send_signal(signal.SIGINT)
        out = tool.communicate(timeout=60)
    kit.unhook()
    assert tool.returncode == 130, out
    state = kit.state()
    assert state["live_release"] == before
    assert state["lock"] is None
    assert state["pending"] is None
    assert "reverted" in {line["event"] for line in state["journal"][-3:]}
    kit.pin("v1.1.0")


def test_no_secret_anywhere(kit: Kit) -> None:
    token = kit.on_host("sed -n 's/^SUB2API_CRM_ADMIN_TOKEN=//p' /opt/crm/releases/*/env | head -1")
    token = token.strip().strip("\"'")
    assert len(token) > 8
    kit.pin("v1.2.0")
    ran = kit.deploy("crm", "--debug")
    kit.pin("v1.1.0")
    assert token not in ran.text
    plan = kit.stackpin("plan", "crm", "--json").out
    assert token not in plan
    for path in (kit.folder / "evidence").rglob("*"):
        assert not path.is_file() or token not in path.read_text()
    quoted = token.replace("'", "'\\''")
    readable = "find /opt /etc /srv /var/lib /run /tmp -type f -perm -o=r -size -5M 2>/dev/null"
    world = kit.on_host(f"{readable} | xargs -r grep -lF -- '{quoted}' 2>/dev/null || true")
    assert world.strip() == ""
    assert json.loads(plan)["exit"] in (0, 2)
