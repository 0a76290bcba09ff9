"""InfraCore's everyday verbs, backups and removal, beside decoys which are not its own."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator

import pytest
from infracore_kit import HOST_PROGRAM, SERVICES, Infracore
from project import host_name

from stackpin.lab import Lab

pytestmark = pytest.mark.timeout(900)
DECOYS = {
    "/opt/infra-core-decoy/file": "mine",
    "/var/lib/infra-core-decoy/core.db": "mine",
    "/var/backups/stackpin/infracore-decoy/file": "mine",
    "/etc/systemd/system/infra-core-decoy.service": "[Service]\nExecStart=/bin/sleep infinity\n",
}


@pytest.fixture(scope="module")
def core(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Infracore]:
    host = lab.reset(host_name(lab))
    core = Infracore.make(lab, host, tmp_path_factory.mktemp("care"))
    for path, text in DECOYS.items():
        core.on_host(f"mkdir -p $(dirname {path}) && cat >{path}", text.encode())
    core.on_host("systemctl daemon-reload && systemctl start infra-core-decoy")
    core.deploy().exits(0)
    yield core


@pytest.fixture(autouse=True)
def decoys(core: Infracore) -> Iterator[None]:
    yield
    for path, text in DECOYS.items():
        assert core.on_host(f"cat {path}") == text
    assert core.on_host("systemctl is-active infra-core-decoy").strip() == "active"


def test_status_shows_every_service(core: Infracore):
    ran = core.stackpin("status", "infracore").exits(0)
    for service in SERVICES:
        assert service in ran.text
    assert "v1.0.0" in ran.text
    document = core.stackpin("status", "infracore", "--json").exits(0).json
    assert set(SERVICES) <= {str(one).removeprefix("infracore-") for one in _parts(document)}


def _parts(document: object) -> list[str]:
    """Every value of a key "stack" anywhere in the document."""
    if isinstance(document, dict):
        own = [str(document["stack"])] if "stack" in document else []
        return own + [part for value in document.values() for part in _parts(value)]
    if isinstance(document, list):
        return [part for value in document for part in _parts(value)]
    return []


def test_logs_of_one_service_and_of_all(core: Infracore):
    one = core.stackpin("logs", "infracore", "console", "-n", "20").exits(0)
    assert one.out.strip()
    every = core.stackpin("logs", "infracore", "-n", "5").exits(0)
    for service in SERVICES:
        assert f"{service}: " in every.out or f"infracore-{service}: " in every.out
    refused = core.stackpin("logs", "infracore", "consol").exits(3)
    assert "console" in refused.text


def test_restart_of_one_service_leaves_the_others(core: Infracore):
    before = core.processes()
    core.stackpin("restart", "infracore", "console").exits(0)
    after = core.processes()
    assert {name for name in SERVICES if before[name] != after[name]} == {"console"}
    core.healthy()


def test_stop_and_start(core: Infracore):
    core.stackpin("stop", "infracore", "--yes").exits(0)
    assert core.ask(80, "/api/v1/health")[0] in (502, 503, 504)
    core.stackpin("start", "infracore").exits(0)
    core.healthy()


def test_configure_sets_a_variable_in_place(core: Infracore):
    before = core.pins.read_text()
    core.stackpin(
        "configure", "infracore", "--set", "infracore_backup_keep_last=20", "--yes"
    ).exits(0)
    after = core.pins.read_text()
    assert "infracore_backup_keep_last = 20" in after
    assert all(line in after for line in before.splitlines() if "backup_keep_last" not in line)
    refused = core.stackpin(
        "configure", "infracore", "--set", "infracore_backup_keep_last=-1", "--yes"
    )
    refused.exits(3)
    assert core.pins.read_text() == after
    core.pins.write_text(before)


def test_doctor_explains_and_bundles_without_secrets(core: Infracore):
    core.stackpin("doctor", "infracore").exits(0)
    part = "infracore-probe"
    unit = f"{part}@{core.state(part)['live_slot']}"
    core.on_host(f"systemctl stop {unit}")
    bundle = core.folder / "doctor.tar.gz"
    try:
        ran = core.stackpin("doctor", "infracore", "--bundle", str(bundle))
    finally:
        core.on_host(f"systemctl start {unit}")
    assert ran.code != 0
    assert unit in ran.text
    assert bundle.stat().st_mode & 0o777 == 0o600
    secret = core.on_host("cat /etc/infra-core/secrets.env").partition("=")[2].strip().strip('"')
    with tarfile.open(bundle) as tar:
        for member in tar.getmembers():
            file = tar.extractfile(member)
            if file is not None:
                assert secret.encode() not in file.read(), member.name


def test_a_backup_has_what_is_only_in_the_wal_and_is_restored(core: Infracore):
    core.register("kept")
    wal = core.on_host("stat -c %s /var/lib/infra-core/console.db-wal").strip()
    assert int(wal) > 0
    core.stackpin("backup create", "infracore-files").exits(0)
    core.stackpin("backup verify", "infracore-files").exits(0)
    core.register("lost")
    ran = core.stackpin("restore", "infracore-files", "latest", "--yes").exits(0)
    assert "users" in ran.text, "what would be lost is shown"
    assert core.login("kept")[0] == 200
    assert core.login("lost")[0] == 401
    core.healthy()


def test_retention_keeps_exactly_as_many_of_ours(core: Infracore):
    keep = {"infracore_backup_keep_last": 2, "infracore_backup_keep_daily": 0}
    foreign = "/var/backups/stackpin/infracore/foreign"
    core.deploy(**keep).exits(0)
    core.on_host(f"cat >{foreign}", b"mine")
    for _ in range(5):
        core.stackpin("backup create", "infracore-files", **keep).exits(0)
    assert core.on_host(f"cat {foreign}; rm {foreign}") == "mine"
    told = core.on_host(f"{HOST_PROGRAM} backup-list infracore-files")
    assert len(json.loads(told)["backups"]) == 2
    core.deploy().exits(0)


def test_rollback_with_data(core: Infracore):
    core.register("early")
    core.update("v1.1.0").exits(0)
    core.register("late")
    ran = core.stackpin("rollback", "infracore", "--with-data", "before", "--yes").exits(0)
    assert "users" in ran.text
    core.runs("v1.0.0")
    core.pin("v1.0.0")
    assert core.login("early")[0] == 200
    assert core.login("late")[0] == 401


@pytest.mark.long
def test_gate_may_bind_its_port_itself(core: Infracore):
    core.stackpin("stop", "infracore", "--yes").exits(0)
    direct = {"infracore_overlap": {"gate": False, "orchestrator": False}, "infracore_tls": None}
    core.deploy(**direct).exits(0)
    unit = f"infracore-gate@{core.state('infracore-gate')['live_slot']}"
    shown = core.on_host(f"systemctl show -p CapabilityBoundingSet,AmbientCapabilities,User {unit}")
    assert shown.count("cap_net_bind_service") == 2, shown
    assert "User=infracore" in shown
    pid = core.on_host(f"systemctl show -p MainPID --value {unit}").strip()
    assert f"pid={pid}," in core.on_host("ss -Hltnp 'sport = :80'")
    assert core.outside("/api/v1/health")[0] == 200
    core.stackpin("stop", "infracore", "--yes").exits(0)  # its port moves again
    core.deploy().exits(0)
    core.healthy()


def paths_of(core: Infracore) -> set[str]:
    folders = "/etc /opt /srv /usr/local /var/lib /var/log /var/backups"
    return set(core.on_host(f"find {folders} -xdev").splitlines())


def test_uninstall_removes_what_it_lists_and_keeps_backups(core: Infracore):
    before = paths_of(core)
    dry = core.stackpin("uninstall", "infracore", "--dry", "--json").exits(0).json
    assert paths_of(core) >= {path for path in before if path.startswith("/opt/infra-core")}
    core.healthy()
    items = [item for part in dry["listed"] for item in part["remove"]]
    listed = {item["path"] for item in items if "path" in item}
    assert {"/etc/infra-core", "/var/lib/infra-core", "/opt/infra-core"} <= listed
    assert [item["user"] for item in items if "user" in item] == ["infracore"]
    core.stackpin("uninstall", "infracore", "--yes").exits(0)
    left = paths_of(core)
    assert not listed & left
    inside = tuple(f"{path}/" for path in listed)
    stray = {path for path in before - left if path not in listed and not path.startswith(inside)}
    # Links of units go with their unit; restic and the journal clean up behind themselves.
    own = ("/etc/systemd/", "/var/backups/stackpin/infracore/", "/var/log/journal")
    assert not [path for path in stray if not path.startswith(own)]
    assert not [path for path in left if path.startswith("/etc/systemd/system/infracore-")]
    assert core.on_host("ls /var/backups/stackpin/infracore").split()
    assert core.on_host("ls /etc/nginx/sites-enabled").find("infracore") == -1
    assert core.on_host("id -u infracore 2>/dev/null; true") == ""
