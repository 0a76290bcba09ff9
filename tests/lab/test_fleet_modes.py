"""Other ways to run the server: no interface, development, a database elsewhere; taking it away.

In file order: each test leaves what the next one starts from.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from fleet_kit import NEW, OLD, Fleet

from stackpin import lockfile

pytestmark = pytest.mark.timeout(900)

NODES = 3
SERVER = "xingrin-server"
SETTINGS = f"/etc/stackpin/{SERVER}"
TABLE = "inet stackpin_xingrin_server"
VOLUME = "xingrin_postgres_data"
ELSEWHERE = "other-postgres"  # a database of somebody else's, on the last node
PORT = 5433
PASSWORD = secrets.token_hex(12)


@pytest.fixture(scope="module", autouse=True)
def settled(fleet: Fleet) -> Iterator[None]:
    fleet.settle(OLD)
    yield
    fleet.on(fleet.nodes[-1], f"docker rm -fv {ELSEWHERE} >/dev/null 2>&1; true")


def services(fleet: Fleet, *, stopped: bool = False) -> set[str]:
    """Names of the server's compose services that have a container."""
    ask = f"docker ps {'-a' if stopped else ''} --filter label=stackpin.stack={SERVER}"
    return set(fleet.on("server", f"{ask} --format '{{{{.Label \"stackpin.service\"}}}}'").split())


def env(fleet: Fleet) -> dict[str, str]:
    """Environment of the server that serves."""
    ask = "docker ps -q --filter label=stackpin.stack=xingrin-server --filter label=stackpin.slot"
    found = fleet.inspect("server", fleet.on("server", ask).strip())
    return dict(entry.split("=", 1) for entry in found["Config"]["Env"])


def organizations(fleet: Fleet) -> set[str]:
    answer: Any = fleet.api("/api/organizations/?pageSize=1000")
    return {row["name"] for row in answer["results"]}


def all_online(fleet: Fleet) -> None:
    def online() -> bool:
        rows = fleet.workers()
        return {rows[n]["status"] for n in fleet.nodes if n in rows} == {"online"} and set(
            rows
        ) >= set(fleet.nodes)

    fleet.wait_for(online, 25, "all nodes online")


def elsewhere(fleet: Fleet, password: str) -> dict[str, object]:
    """Variables of the database on the last node, with this password in a file."""
    path = fleet.folder / f"password-{password[:6]}"
    path.write_text(password + "\n")
    return {
        "xingrin_db_host": fleet.lab.host(fleet.nodes[-1]).address,
        "xingrin_db_port": PORT,
        "xingrin_db_password": f"file:{path}",
    }


def test_ports_that_docker_publishes_are_no_drift(fleet: Fleet):
    listening = fleet.on("server", "ss -Hltn")
    assert all(f":{port} " in listening for port in (5432, 6379, 8083))
    fleet.stackpin("drift", "xingrin").exits(0)


def test_a_restored_database_has_what_it_had(fleet: Fleet):
    fleet.api("/api/organizations/", "POST", {"name": "stays"})
    fleet.stackpin("backup create", SERVER).exits(0)
    fleet.api("/api/organizations/", "POST", {"name": "goes"})
    assert organizations(fleet) >= {"stays", "goes"}
    agents = fleet.agents()

    # `goes` is named by what was shown before anything was done
    ran = fleet.stackpin("restore", SERVER, "latest", "--limit", "server", "--yes").exits(0)
    assert "safety backup" in ran.text
    found = organizations(fleet)
    assert "stays" in found
    assert "goes" not in found
    assert fleet.agents() == agents
    all_online(fleet)
    # the backup made first still has it: nothing is gone for good
    listed = fleet.stackpin("backup list", SERVER, "--json").exits(0).out
    assert "before restore of" in listed


def test_without_the_interface_nodes_are_served_all_the_same(fleet: Fleet):
    agents = fleet.agents()
    fleet.deploy(xingrin_frontend=False).exits(0)
    assert services(fleet, stopped=True) == {"server", "postgres", "redis", "agent", "nginx"}
    assert fleet.agents() == agents
    all_online(fleet)
    fleet.stackpin("drift", "xingrin", xingrin_frontend=False).exits(0)
    fleet.deploy().exits(0)
    assert "frontend" in services(fleet)


def test_development_images_are_refused_in_production(fleet: Fleet):
    before = fleet.agents()
    ran = fleet.deploy(xingrin_dev=True, stackpin_production=True).exits(3)
    assert "xingrin_dev" in ran.text
    assert fleet.agents() == before


def test_development_mode_runs_its_own_images(fleet: Fleet):
    dev = {"xingrin_dev": True}
    # Not of this tag: its production images are locked, and tags are locked once.
    fleet.stackpin("pin", "xingrin", "--version", NEW, **dev).exits(0)
    fleet.deploy(**dev).exits(0)
    found = env(fleet)
    assert found["DEBUG"] == "True"
    assert found["IMAGE_TAG"] == f"{NEW}-dev"
    assert found["TASK_EXECUTOR_IMAGE"].endswith(f"/xingrin-worker:{NEW}-dev")
    for node in fleet.nodes:
        agent = fleet.inspect(node)
        assert f":{NEW}-dev@sha256:" in agent["Config"]["Image"]
        assert f"IMAGE_TAG={NEW}-dev" in agent["Config"]["Env"]
        images = fleet.on(node, "docker images --format '{{.Repository}}:{{.Tag}}'").split()
        assert found["TASK_EXECUTOR_IMAGE"] in images
    all_online(fleet)


def test_an_uninstalled_server_takes_its_firewall_with_it(fleet: Fleet):
    fleet.settle(OLD)
    names = organizations(fleet)
    assert "stays" in names
    # Names as the product's own uninstaller would have taken too.
    image = fleet.service("redis")["Image"]
    for decoy in ("docker-registry", "xingrin-decoy"):
        fleet.on("server", f"docker run -d --name {decoy} --entrypoint sleep {image} 600")
    listed = fleet.stackpin("uninstall", SERVER, "--yes", "--json").exits(0).json
    removed = listed["removed"][0]
    assert removed["final_backup"]
    assert f"{SETTINGS}/secrets.env" in {item["path"] for item in removed["kept"]}

    assert services(fleet, stopped=True) == set()
    left = fleet.on("server", "docker ps --format '{{.Names}}'").split()
    assert set(left) == {"docker-registry", "xingrin-decoy"}
    fleet.on("server", "docker rm -f docker-registry xingrin-decoy")
    assert TABLE not in fleet.on("server", "nft list tables")
    units = "systemctl list-unit-files 'stackpin-*' --no-legend"
    assert fleet.on("server", units, check=False).split() == []
    assert VOLUME in fleet.on("server", "docker volume ls -q").split()
    assert fleet.on("server", "ls /opt/xingrin").split()


def test_a_database_elsewhere_is_used_and_none_is_started(fleet: Fleet):
    node = fleet.nodes[-1]
    locked = lockfile.read(fleet.lock_path).version("xingrin", OLD)
    assert locked
    reference = next(f"{r}@{d}" for r, d in locked.images.items() if "/postgres:" in r)
    fleet.on(
        node,
        f"DOCKER_CONFIG=/etc/stackpin/docker docker run -d --name {ELSEWHERE} -p {PORT}:5432 "
        f"-e POSTGRES_DB=xingrin -e POSTGRES_PASSWORD={PASSWORD} {reference}",
        timeout=180,
    )
    ready = (
        f"docker exec -e PGPASSWORD={PASSWORD} {ELSEWHERE} "
        "psql -h 127.0.0.1 -U postgres -d xingrin -Atc 'select 1'"
    )
    fleet.wait_for(lambda: fleet.on(node, ready, check=False).strip() == "1", 60, "a database")

    # Its database knows no node yet, which only shows once it serves: nodes that were to stay as
    # they are fail their check (1), and the next run registers them.
    assert fleet.deploy(**elsewhere(fleet, PASSWORD)).code in (0, 1)
    assert services(fleet, stopped=True) == {"server", "redis", "agent", "frontend", "nginx"}
    assert env(fleet)["DB_PORT"] == str(PORT)
    assert "5432" not in fleet.on("server", f"nft list set {TABLE} ports")
    fleet.deploy(**elsewhere(fleet, PASSWORD)).exits(0)
    all_online(fleet)
    fleet.api("/api/organizations/", "POST", {"name": "elsewhere"})
    rows = ready.replace("select 1", "select count(*) from worker_node where not is_local")
    assert fleet.on(node, rows).strip() == str(len(fleet.nodes))
    fleet.stackpin("backup create", SERVER, **elsewhere(fleet, PASSWORD)).exits(0)
    fleet.stackpin("backup verify", SERVER, **elsewhere(fleet, PASSWORD)).exits(0)


def test_a_wrong_password_is_refused_before_anything_is_pulled(fleet: Fleet):
    ask = f"docker ps -aq --no-trunc | sort; sha256sum {SETTINGS}/*.* ; docker images -q | sort"
    before = fleet.on("server", ask)
    ran = fleet.deploy(**elsewhere(fleet, "not-the-password")).exits(3)
    assert "password authentication failed" in ran.text
    assert "_db_password" in ran.text
    assert "not-the-password" not in ran.text
    assert fleet.on("server", ask) == before


def test_back_to_the_database_that_stayed(fleet: Fleet):
    fleet.settle(OLD)
    assert "stays" in organizations(fleet)
    assert "elsewhere" not in organizations(fleet)
    assert "postgres" in services(fleet)
    all_online(fleet)
