"""Bad input: each is refused with exit 3, says where and what to do, and touches nothing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_kit import Kit
from project import Ran, host_name

from stackpin.lab import Lab

pytestmark = pytest.mark.timeout(600)

# Everything a deploy could touch, except what changes by itself or by being asked.
FINGERPRINT = (
    "find /etc/stackpin /etc/nginx /etc/systemd/system /opt /srv /var/lib/stackpin "
    "/var/lib/crm/data "
    "-not -name '*-wal' -not -name '*-shm' -not -name 'lock.*' -type f "
    "-printf '%p %s %T@ %m %u\\n' 2>/dev/null | sort | sha256sum; "
    "systemctl show -p MainPID crm@blue crm@green nginx"
)


@pytest.fixture(scope="module")
def kit(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    host = lab.host(host_name(lab))
    kit = Kit.make(lab, host, tmp_path_factory.mktemp("refusals"))
    kit.pin("v1.0.0")
    kit.deploy("site").exits(0)
    # Something to do in every case: a refusal must not be "in sync" in disguise.
    kit.pin("v1.1.0")
    yield kit


@pytest.fixture(autouse=True)
def untouched(kit: Kit) -> Iterator[None]:
    before = kit.on_host(FINGERPRINT)
    yield
    assert kit.on_host(FINGERPRINT) == before
    assert kit.state()["lock"] is None


def refused(ran: Ran, *told: str) -> None:
    ran.exits(3)
    for text in told:
        assert text in ran.err, ran.text
    assert "Traceback" not in ran.text


def test_missing_inventory(kit: Kit) -> None:
    argv = kit.argv("deploy", "crm", "--yes")
    argv[2] = "inventories/prdo"
    refused(kit.program(argv), "inventories/prdo", "no such inventory")


def test_unknown_stack(kit: Kit) -> None:
    refused(kit.deploy("crn"), "Did you mean crm?")


def test_unknown_host(kit: Kit) -> None:
    refused(kit.deploy("crm", "--limit", "lab99"), "lab99", "no such host or group")


def test_unknown_variable(kit: Kit) -> None:
    refused(kit.deploy(crm_verison="v1.0.0"), "crm_verison", "Did you mean crm_version?")


def test_every_problem_at_once(kit: Kit) -> None:
    ran = kit.stackpin("check", "crm", "--json", crm_version="latest", crm_user="Root!", crm_x=1)
    ran.exits(3)
    named = {problem["variable"] for problem in ran.json["problems"]}
    assert named == {"crm_version", "crm_user", "crm_x"}
    assert all(problem["expected"] for problem in ran.json["problems"])


def test_missing_secret(kit: Kit) -> None:
    refused(kit.deploy(crm_admin_token="env:NO_SUCH_TOKEN"), "NO_SUCH_TOKEN", "crm_admin_token")


@pytest.mark.parametrize("version", ["v1.1", "latest"])
def test_malformed_version(kit: Kit, version: str) -> None:
    refused(kit.deploy(crm_version=version), "crm_version")
    refused(kit.stackpin("update", "crm", "--yes", "--version", version), "--version")
    assert kit.pinned() == "v1.1.0"


def test_downgrade_by_update(kit: Kit) -> None:
    refused(
        kit.stackpin("update", "crm", "--yes", "--version", "v1.0.0"),
        "older than the pin",
        "--allow-downgrade",
    )
    assert kit.pinned() == "v1.1.0"


def test_repository_is_no_git_tree(kit: Kit) -> None:
    kit.on_host("mkdir -p /root/plain/notes")
    refused(kit.deploy(crm_repo_root="/root/plain"), "/root/plain", "repo_root")


def test_artifact_missing(kit: Kit) -> None:
    refused(kit.deploy(crm_version="v9.9.9"), "crm-v9.9.9.pyz", "found nothing")


def test_artifact_damaged(kit: Kit, tmp_path: Path) -> None:
    shutil.copytree(kit.folder / "artifacts/crm", tmp_path / "a")
    with (tmp_path / "a/crm-v1.1.0.pyz").open("ab") as file:
        file.write(b"x")
    ran = kit.deploy(crm_artifact=str(tmp_path / "a/crm-{version}.pyz"))
    refused(ran, "crm-v1.1.0.pyz", "SHA-256")


def test_port_taken(kit: Kit) -> None:
    kit.on_host(
        "setsid python3 -m http.server 18777 --bind 127.0.0.1 >/dev/null 2>&1 </dev/null & sleep 1"
    )
    try:
        ports = {"blue": 18190, "green": 18191, "rehearsal": 18777}
        refused(kit.deploy(crm_ports=ports), "18777", "python3")
    finally:
        kit.on_host(
            "pid=$(ss -Hltnp sport = :18777 | sed 's/.*pid=\\([0-9]*\\).*/\\1/'); kill $pid"
        )


def test_disk_too_small(kit: Kit) -> None:
    refused(kit.deploy(crm_min_disk_mb=90_000_000), "disk", "expected 9000000")


def test_preflight_tells_every_question_and_changes_nothing(kit: Kit) -> None:
    """The items of a host that cannot take it; the fixture compares what is on its disk."""
    wanted = {
        "stackpin_min_cpus": 4096,
        "stackpin_min_kernel": "99.0.0",
        "crm_min_memory_mb": 10**9,
    }
    endpoints = {"127.0.0.1:1": "fail", "[::1]:1": "warn"}
    ran = kit.stackpin("preflight", "crm", "--json", stackpin_endpoints=endpoints, **wanted)
    refused(ran, "cpus", "kernel", "memory", "reach 127.0.0.1:1")
    found = ran.json["hosts"][kit.host.name]
    failed = {i["name"] for i in found["host"] if not i["ok"] and i["severity"] == "fail"}
    assert failed == {"cpus", "kernel", "memory", "reach 127.0.0.1:1"}
    for item in [*found["host"], *found["crm"]]:
        assert item["measured"] and item["expected"], item
        assert item["ok"] or item["remedy"], item
    refused(kit.deploy(**wanted), "cpus", "kernel", "memory")


def test_wrong_ssh_key(kit: Kit, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    refused(kit.deploy(ssh_key=str(key)), kit.host.name, "refused the SSH key")


def test_absent_ssh_key(kit: Kit) -> None:
    refused(kit.deploy(ssh_key="/nonexistent/key"), kit.host.name, "/nonexistent/key")


def test_changed_host_key(kit: Kit, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    kind, body, _ = key.with_suffix(".pub").read_text().split(maxsplit=2)
    known = tmp_path / "known_hosts"
    known.write_text(f"{kit.host.address} {kind} {body}\n")
    refused(kit.deploy(ssh_known_hosts_file=str(known)), kit.host.name, "host key is changed")


def test_unknown_host_key(kit: Kit, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.touch()
    refused(kit.deploy(ssh_known_hosts_file=str(known)), kit.host.name, "host key is unknown")


def test_unreachable_host(kit: Kit) -> None:
    refused(kit.deploy(ssh_port=2), kit.host.name, "no SSH connection")


def test_syntax_error_in_snippet(kit: Kit) -> None:
    (kit.folder / "broken.conf").write_text("location /x { retrun 200; }\n")
    refused(
        kit.deploy("portal", portal_nginx_snippet="broken.conf"), "retrun", "Correct broken.conf"
    )


def test_bad_batch(kit: Kit) -> None:
    refused(kit.deploy("crm", "--batch", "half"), "--batch")


def test_nobody_to_ask(kit: Kit) -> None:
    refused(kit.stackpin("deploy", "crm"), "--yes")


def test_plan_of_another_state(kit: Kit) -> None:
    kit.stackpin("plan", "crm", "--out", "plan.json").exits(2)
    assert (kit.folder / "plan.json").stat().st_mode & 0o077 == 0
    refused(kit.deploy("crm", "--plan", "plan.json", crm_keep_releases=7), "plan.json", "lab")


def test_edited_plan(kit: Kit) -> None:
    kit.stackpin("plan", "crm", "--out", "plan.json").exits(2)
    path = kit.folder / "plan.json"
    path.write_text(path.read_text().replace("v1.1.0-", "v1.0.9-"))
    refused(kit.deploy("crm", "--plan", "plan.json"), "plan.json")


def test_no_other_release_to_go_back_to(kit: Kit) -> None:
    refused(kit.stackpin("rollback", "crm", "--yes", "--to", "v0.1.0"), "v0.1.0", "--to")


def test_hook_says_no(kit: Kit) -> None:
    kit.hook("approve", "echo not on a friday >&2; exit 7")
    try:
        refused(kit.deploy(), "not on a friday")
    finally:
        kit.unhook()


def test_two_at_once(kit: Kit) -> None:
    kit.hook("approve", "sleep 8; exit 1")
    first = kit.start("deploy", "crm", "--yes", "--reason", "friday release")
    try:
        kit.wait_for(lambda: kit.state()["lock"], 20)
        refused(kit.stackpin("deploy", "crm", "--yes"), "is locked by", "friday release")
    finally:
        first.communicate(timeout=60)
        kit.unhook()
        shutil.rmtree(kit.folder / "evidence", ignore_errors=True)
