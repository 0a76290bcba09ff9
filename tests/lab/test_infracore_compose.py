"""InfraCore from images: one Compose project, from bare through upgrades, bad versions, and back.

In file order.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
from infracore_kit import SERVICES, Composed
from stock_host import changed

from stackpin.lab import Lab
from stackpin.lab.registry import faults
from stackpin.lab.traffic import gate_traffic

pytestmark = pytest.mark.timeout(900)
GOOD, NEXT = "v1.0.0", "v1.1.0"
SLEEP = "/usr/bin/python3 -c 'import time; time.sleep(1e6)'"
DECOY = "infra-core-decoy"


@pytest.fixture(scope="module")
def core(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    core = Composed.on_box(lab, tmp_path_factory.mktemp("compose"))
    yield core
    faults.heal(lab)


@pytest.fixture(autouse=True)
def unhooked(core: Composed) -> Iterator[None]:
    yield
    core.unhook()


def decoys(core: Composed) -> list[str]:
    """Id and start of a container that is not ours, and what its volume holds."""
    told = core.on_host(
        f"docker inspect -f '{{{{.Id}}}} {{{{.State.StartedAt}}}} {{{{.State.Running}}}}' {DECOY};"
        f"cat /var/lib/docker/volumes/{DECOY}/_data/file"
    ).split()
    assert told[-2:] == ["true", "mine"], told
    return told


def test_a_tag_without_digests_is_refused(core: Composed):
    ran = core.deploy().exits(3)
    assert "stackpin pin" in ran.text
    assert core.on_host("docker ps --all --quiet") == ""


def test_pin_locks_five_digests(core: Composed):
    core.lock_digests(GOOD)
    assert set(core.locked(GOOD)) == set(SERVICES)
    assert len(set(core.locked(GOOD).values())) == len(SERVICES)


def test_first_deploy_from_a_bare_docker_host(core: Composed):
    core.deploy().exits(0)
    core.runs(GOOD)
    projects = json.loads(core.on_host("docker compose ls --all --format json"))
    assert [project["Name"] for project in projects] == ["infracore"]
    assert core.outside("/api/v1/health")[0] == 200
    assert b"</html>" in core.outside("/")[1], "the interface is served"
    image = core.containers()["snap"]["Config"]["Image"]
    core.on_host(f"docker run -d --name {DECOY} -v {DECOY}:/data --user 0 {image} {SLEEP}")
    core.on_host(f"cat >/var/lib/docker/volumes/{DECOY}/_data/file", b"mine")


def test_containers_have_no_more_than_they_need(core: Composed):
    owner = core.on_host("id -u infracore; id -g infracore").split()
    for service, one in core.containers().items():
        host = one["HostConfig"]
        assert one["Config"]["User"] == ":".join(owner), service
        assert owner[0] != "0"
        assert (host["ReadonlyRootfs"], host["Privileged"]) == (True, False), service
        assert (host["CapDrop"], host["CapAdd"]) == (["ALL"], None), service
        assert host["SecurityOpt"] == ["no-new-privileges:true"], service
        assert host["RestartPolicy"]["Name"] == "always", service
        mounts = {mount["Destination"]: mount["RW"] for mount in one["Mounts"]}
        assert not any("docker.sock" in str(mount) for mount in one["Mounts"]), service
        written = [place for place, writable in mounts.items() if writable]
        assert written == ([] if service == "gate" else ["/var/lib/infra-core"]), service
    assert "watchtower" not in core.on_host("docker ps --all").lower()


def test_only_the_gate_is_reached_from_outside(core: Composed):
    shown = core.on_host("ss -Hltn | awk '{print $4}'")
    listening = {int(line.rpartition(":")[2]) for line in shown.split()} - {22, 80, 443}
    assert {8082, 8085, 8086, 9090} < listening
    for port in listening:
        with pytest.raises(OSError):
            socket.create_connection((core.host.address, port), 0.5)


def test_a_second_deploy_changes_nothing(core: Composed):
    before = core.ids()
    assert core.deploy("--json").exits(0).json["in_sync"] is True
    assert core.ids() == before
    core.stackpin("drift", "infracore").exits(0)


def test_upgrade_under_load_loses_nothing(core: Composed):
    core.register("before")
    token = core.token("before")
    with gate_traffic(core.lab, core.host.name) as load:
        core.update(NEXT).exits(0)
        result = load.stop()
    assert (result.failed, result.lost) == (0, []), result.samples
    assert result.requests > 500
    core.runs(NEXT)
    assert core.pinned() == NEXT
    status, said = core.login("before")
    assert status == 200
    assert "logins" in said["user"], "the migration is there"
    assert core.signature(token) == "Session expired", "the secret that signs is the same"
    assert core.signature("a.b.c") == "Invalid token"


@pytest.mark.parametrize(
    ("version", "service"), [("v1.2.0", "console"), ("v1.3.0", "probe"), ("v1.4.0", "orchestrator")]
)
def test_a_bad_version_is_taken_back(core: Composed, version: str, service: str):
    lock = core.lock_path.read_text()
    # The probe dies after 20 s: it has to stay up for longer than that.
    gate = {**core.DATA["infracore_gate"], "min_healthy": 25.0, "timeout": 60.0}  # type: ignore[dict-item]
    more = {"infracore_gate": gate} if service == "probe" else {}
    with gate_traffic(core.lab, core.host.name, rate=30) as load:
        ran = core.update(version, **more).exits(4)
        result = load.stop()
    assert f"infracore-{service}" in ran.text
    assert (result.failed, result.lost) == (0, []), result.samples
    core.runs(NEXT)
    assert (core.pinned(), core.lock_path.read_text()) == (NEXT, lock)
    assert core.login("before")[0] == 200


def test_a_tag_pushed_again_is_drift_and_refused(core: Composed):
    before = core.ids()
    core.lab.registry.move_tag("infracore-console", NEXT)
    try:
        ran = core.stackpin("drift", "infracore").exits(2)
        assert "infracore-console" in ran.text
        assert "pushed again" in core.update(NEXT, "--allow-downgrade").exits(3).text
    finally:
        core.lab.registry.push(("infracore",))
    assert core.ids() == before, "what runs is still what was locked"
    core.stackpin("drift", "infracore").exits(0)


def test_a_registry_that_is_down_refuses_an_update(core: Composed):
    files = core.pins.read_text(), core.lock_path.read_text()
    before = core.ids()
    faults.down(core.lab)
    try:
        ran = core.update("v1.5.0").exits(3)
    finally:
        faults.heal(core.lab)
    assert core.lab.registry.address in ran.text
    assert "Traceback" not in ran.text
    assert (core.pins.read_text(), core.lock_path.read_text()) == files
    assert core.ids() == before


def test_strangers_are_drift_and_left_alone(core: Composed):
    before = core.ids()
    image = core.containers()["snap"]["Config"]["Image"]
    labels = "--label com.docker.compose.project=infracore --label com.docker.compose.service=odd"
    socket_ = "-v /var/run/docker.sock:/var/run/docker.sock"
    core.on_host(
        f"docker run -d --name stranger {labels} {image} {SLEEP}; docker tag {image} lab/watchtower"
        f"; docker run -d --name updater {socket_} lab/watchtower {SLEEP}"
    )
    running = "docker ps -q --no-trunc --filter name=stranger --filter name=updater | sort"
    strangers = core.on_host(running)
    try:
        ran = core.stackpin("drift", "infracore").exits(2)
        assert "stranger" in ran.text
        assert "updater" in ran.text
        assert "stranger" in core.update("v1.5.0").exits(3).text
        assert core.on_host(running) == strangers
    finally:
        core.on_host("docker rm -f stranger updater; docker rmi lab/watchtower")
    assert core.ids() == before
    core.stackpin("drift", "infracore").exits(0)


def test_rollback_goes_to_the_digests_before(core: Composed):
    with gate_traffic(core.lab, core.host.name) as load:
        core.stackpin("rollback", "infracore", "--yes").exits(0)
        result = load.stop()
    assert (result.failed, result.lost) == (0, []), result.samples
    core.runs(GOOD)
    core.pin(GOOD)  # the kit names its host with --limit, which leaves the pin alone
    assert core.login("before")[0] == 200


def test_a_backup_has_what_is_only_in_the_wal_and_is_restored(core: Composed):
    core.register("kept")
    ask = "select count(*) from users where username = 'kept'"
    main = f"file:{core.VOLUME}/console.db?immutable=1"  # without its WAL
    assert core.on_host(f'sqlite3 "{main}" "{ask}"').strip() == "0"
    core.stackpin("backup create", "infracore-files").exits(0)
    core.stackpin("backup verify", "infracore-files").exits(0)
    core.register("lost")
    ran = core.stackpin("restore", "infracore-files", "latest", "--yes").exits(0)
    assert "users" in ran.text, "what would be lost is shown"
    assert core.login("kept")[0] == 200
    assert core.login("lost")[0] == 401
    core.runs(core.pinned())


def test_logs_and_restart_of_one_service(core: Composed):
    assert core.stackpin("logs", "infracore", "console", "-n", "20").exits(0).out.strip()
    before = core.processes()
    core.stackpin("restart", "infracore", "console").exits(0)
    after = core.processes()
    assert {name for name in SERVICES if before[name] != after[name]} == {"console"}
    core.healthy()


def test_uninstall_leaves_the_volume_and_what_only_has_such_a_name(core: Composed):
    before = decoys(core)
    core.register("stays")
    core.stackpin("uninstall", "infracore", "--yes").exits(0)
    assert core.on_host("docker ps --all --format '{{.Names}}'").split() == [DECOY]
    assert set(core.on_host("docker volume ls -q").split()) == {DECOY, "infracore_data"}
    assert core.on_host("ls -d /opt/infra-core 2>/dev/null; true") == ""
    left = core.on_host("find /etc/stackpin -path '*/infracore*' -type f").split()
    assert left == ["/etc/stackpin/infracore-files/restic.password"], "it opens the backups"
    assert decoys(core) == before


def test_stock_pyinfra_deploys_it_too(core: Composed):
    core.lock_digests(NEXT)
    core.pyinfra().exits(0)
    core.runs(NEXT)
    assert core.login("stays")[0] == 200, "the data of before is found again"
    before = core.ids()
    assert changed(core.pyinfra().exits(0)) == []
    assert core.ids() == before
