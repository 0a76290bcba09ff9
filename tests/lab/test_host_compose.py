"""The server's stack on a host: its database, its slots, a restart of the host."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from fleet_kit import OLD, Fleet

from stackpin.engine.bundle import host_program
from stackpin.lab.ssh import ssh_command

pytestmark = pytest.mark.timeout(900)

NODES = 1
STACK = "xingrin-server"
PROGRAM = "/usr/local/lib/stackpin/host-test.pyz"


@pytest.fixture(scope="module", autouse=True)
def settled(fleet: Fleet) -> Iterator[None]:
    fleet.settle(OLD)
    return


def on_server(fleet: Fleet, command: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    argv = [*ssh_command(fleet.lab.paths, fleet.lab.host("server")), command]
    return subprocess.run(argv, input=data, capture_output=True, timeout=300, check=False)


def call(fleet: Fleet, command: str, **payload: Any) -> dict[str, Any]:
    """Run a host command; ok False and an error when it failed, {} without an answer."""
    place = PROGRAM.rpartition("/")[0]
    on_server(fleet, f"mkdir -p {place}; cat > {PROGRAM}", host_program()[0])
    done = on_server(fleet, f"python3 {PROGRAM} {command} {STACK}", json.dumps(payload).encode())
    answer: dict[str, Any] = json.loads(done.stdout or "{}")
    return answer


def driver(fleet: Fleet, code: str) -> str:
    """Run Python on the server with the driver (compose) and the stack (s) at hand."""
    head = (
        f"import sys; sys.path.insert(0, {PROGRAM!r})\n"
        "from stackpin.host.stack import Stack\nfrom stackpin.host.drivers import compose\n"
        f"from stackpin.host import slots\ns = Stack.load({STACK!r})\n"
    )
    done = on_server(fleet, "python3 -", (head + code).encode())
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def sql(fleet: Fleet, text: str) -> str:
    psql = "docker exec xingrin-postgres-1 psql -U postgres -d xingrin -Atc"
    return fleet.on("server", f'{psql} "{text}"').strip()


def servers(fleet: Fleet) -> dict[str, str]:
    """{name: "running always"} of the server's slots."""
    names = fleet.on("server", "docker ps -aq --filter label=stackpin.slot").split()
    form = "{{.Name}} {{.State.Status}} {{.HostConfig.RestartPolicy.Name}}"
    rows = fleet.on("server", f"docker inspect -f '{form}' {' '.join(names)}").splitlines()
    return {row.split()[0].strip("/"): row.partition(" ")[2] for row in rows if row.strip()}


def test_a_backup_is_proven_and_a_restore_brings_its_rows_back(fleet: Fleet):
    made = call(fleet, "backup", reason="test")
    assert made["database"]["proven"] == "restored"
    assert made["database"]["tables"]["worker_node"] >= 1
    assert call(fleet, "backup-verify", id=made["id"])["ok"]
    sql(fleet, "create table too_much (a int); insert into too_much values (1)")

    seen = call(fleet, "restore", id=made["id"], dry=True)
    assert seen["lost"]["too_much"] == {"now": 1, "then": 0}
    fleet.on("server", f"touch /var/lib/stackpin/{STACK}/maintenance")
    done = call(fleet, "restore", id=made["id"], confirm_token=seen["confirm_token"])
    fleet.on("server", f"rm /var/lib/stackpin/{STACK}/maintenance")

    assert done["ok"], done
    assert done["safety"]
    assert sql(fleet, "select to_regclass('too_much') is null") == "t"
    left = sql(fleet, "select count(*) from pg_database where datname like 'stackpin%'")
    assert left == "0"
    assert call(fleet, "fleet")["version"] == OLD


def test_the_fleet_is_told_within_a_second(fleet: Fleet):
    told = call(fleet, "fleet")

    local = [worker for worker in told["workers"] if worker["local"]]
    assert len(local) == 1
    assert {worker["name"] for worker in told["workers"]} >= set(fleet.nodes)
    assert told["seconds"] < 2.0  # the machine that runs this has other work


def test_one_holder_of_a_lease_in_redis(fleet: Fleet):
    lease = {"key": "agent_update_lock:test", "ttl": 30}

    def held(action: str, token: str) -> bool:
        return bool(call(fleet, "redis-lease", action=action, token=token, **lease)["held"])

    assert held("take", "one")
    assert not held("take", "two")
    assert not held("release", "two")
    assert held("renew", "one")
    assert held("release", "one")
    assert held("take", "two")
    assert held("release", "two")


def test_a_restart_of_the_host_brings_back_the_fronted_slot_alone(fleet: Fleet):
    call(fleet, "state")
    live = driver(fleet, "print(slots.live_slot(s))")
    # As a deploy that was cut off between start and switch leaves it.
    driver(
        fleet,
        "live = slots.live_slot(s); idle = slots.other(live)\n"
        "compose.install(s, idle, slots.linked(s, live)); compose.start(s, idle)",
    )
    assert sorted(servers(fleet).values()) == ["running always", "running no"]

    fleet.lab.reboot("server")
    fleet.wait_for(lambda: call(fleet, "fleet").get("ok") is True, 120, "the server is back")

    assert servers(fleet)[f"xingrin-server-{live}-1"] == "running always"
    assert sorted(servers(fleet).values())[0].startswith("exited")
    driver(fleet, "compose.remove(s, slots.other(slots.live_slot(s)))")


def test_the_way_there_and_back_killed_half_way(fleet: Fleet):
    call(fleet, "state")
    code = (
        "live = slots.live_slot(s); idle = slots.other(live)\n"
        "compose.install(s, idle, slots.linked(s, live)); compose.start(s, idle)\n"
    )
    driver(fleet, code)
    live = driver(fleet, "print(slots.live_slot(s))")
    driver(
        fleet,
        "import os, time\nidle = slots.other(slots.live_slot(s))\nchild = os.fork()\n"
        "if child == 0:\n    compose.front(s, idle)\n    os._exit(0)\n"
        "time.sleep(1.5)\nos.kill(child, 9)",
    )

    driver(fleet, "compose.front(s, slots.live_slot(s))")

    found = servers(fleet)
    assert found[f"xingrin-server-{live}-1"] == "running always"
    assert [state for name, state in found.items() if live not in name] == ["exited no"]
    assert driver(fleet, "print(compose.changed(s, slots.live_slot(s), "
                         "slots.linked(s, slots.live_slot(s))))") == "[]"  # fmt: skip
    driver(fleet, "compose.remove(s, slots.other(slots.live_slot(s)))")


def test_a_release_that_lacks_its_schema_is_refused_before_anything_runs(fleet: Fleet):
    release = driver(fleet, "print(slots.linked(s, slots.live_slot(s)))")
    assert call(fleet, "schema", release=release) == {
        "ok": True,
        "drift": [],
        "checked": True,
        "step": None,
    }
    sql(fleet, "alter table scan rename to scan_away")
    try:
        drift = call(fleet, "schema", release=release)["drift"]
    finally:
        sql(fleet, "alter table scan_away rename to scan")
    assert [item["table"] for item in drift] == ["scan"]
