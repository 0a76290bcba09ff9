"""The server's own promises: secrets, certificate, firewall, database, schema."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fleet_kit import OLD, Fleet

pytestmark = pytest.mark.timeout(900)

NODES = 3


@pytest.fixture(scope="module", autouse=True)
def settled(fleet: Fleet) -> Iterator[None]:
    fleet.settle(OLD)
    return


def test_secrets_and_certificate_are_made_once(fleet: Fleet):
    show = "cat /etc/stackpin/xingrin-server/secrets.env /etc/stackpin/xingrin-server/tls/*.pem"
    before = fleet.on("server", show)
    assert "SECRET_KEY" in before
    # Something to do, so that every operation runs again.
    fleet.on("server", "chmod 0640 /etc/stackpin/xingrin-server/secrets.env")
    fleet.deploy().exits(0)
    assert fleet.on("server", show) == before
    modes = fleet.on("server", "stat -c %a /etc/stackpin/xingrin-server/secrets.env")
    assert modes.strip() == "600"
    names = fleet.on(
        "server",
        "openssl x509 -noout -ext subjectAltName -in "
        "/etc/stackpin/xingrin-server/tls/fullchain.pem",
    )
    assert fleet.host.address in names


def test_django_reads_a_secret_key_of_its_own(fleet: Fleet):
    env = dict(e.split("=", 1) for e in fleet.inspect("server", _server(fleet))["Config"]["Env"])
    assert len(env["SECRET_KEY"]) >= 50
    assert "insecure" not in env["SECRET_KEY"]
    assert env["IMAGE_TAG"] == OLD
    for word in ("ps -ef", "cat /var/lib/stackpin/xingrin-server/releases.jsonl"):
        assert env["DB_PASSWORD"] not in fleet.on("server", word)


def test_only_declared_nodes_reach_database_cache_and_api(fleet: Fleet):
    probe = "timeout 3 bash -c '</dev/tcp/{}/{}' 2>/dev/null && echo open || echo closed"
    for port in (5432, 6379, 8083):
        command = probe.format(fleet.host.address, port)
        assert fleet.on(fleet.nodes[0], command).strip() == "open", port
        # The registry's host is no node.
        assert fleet.on("registry", command).strip() == "closed", port


def test_online_within_15_seconds_and_offline_after(fleet: Fleet):
    node = fleet.nodes[-1]
    assert fleet.workers()[node]["status"] == "online"
    fleet.on(node, "docker stop -t 1 xingrin-agent")
    fleet.wait_for(lambda: fleet.workers()[node]["status"] != "online", 20, "offline")
    drift = fleet.stackpin("drift", "xingrin").exits(2)
    assert node in drift.text
    fleet.deploy().exits(0)
    fleet.wait_for(lambda: fleet.workers()[node]["status"] == "online", 20, "online")


def test_an_old_version_is_drift_though_the_api_says_online(fleet: Fleet):
    row = fleet.workers()[fleet.nodes[0]]
    beat = {"cpu_percent": 1, "memory_percent": 1, "version": "v1.0.8"}
    answer = fleet.api(f"/api/workers/{row['id']}/heartbeat/", "POST", beat)
    assert answer == {"status": "ok", "needUpdate": True, "serverVersion": OLD}
    image = fleet.inspect(fleet.nodes[0])["Config"]["Image"].rpartition("@")[0]
    other = image.replace(OLD, "v1.2.0")
    # Somebody's own hands: the same name, another image, still beating.
    fleet.on(
        fleet.nodes[0],
        f"docker rm -f xingrin-agent >/dev/null; docker pull -q {image} >/dev/null; "
        f"docker tag {image} {other}; docker run -d --name xingrin-agent --restart always "
        f"-e SERVER_URL=https://{fleet.host.address}:8083 -e WORKER_ID={row['id']} "
        f"-e IMAGE_TAG=v1.0.8 -v /proc:/host/proc:ro {other}",
    )
    fleet.wait_for(
        lambda: fleet.workers()[fleet.nodes[0]]["status"] == "online", 20, "it beats all the same"
    )
    fleet.stackpin("drift", "xingrin").exits(2)
    # It is nobody's but theirs: named, and left alone until they take it away.
    theirs = fleet.agents()
    ran = fleet.deploy()
    after = fleet.agents()
    fleet.on(fleet.nodes[0], "docker rm -f xingrin-agent")
    assert ran.code == 3, ran.text
    assert "docker rm --force xingrin-agent" in ran.text
    assert after == theirs
    fleet.deploy().exits(0)
    fleet.runs(OLD)


def test_backups_are_proven_and_restored(fleet: Fleet):
    fleet.api("/api/organizations/", "POST", {"name": "kept"})
    fleet.stackpin("backup create", "xingrin-server").exits(0)
    fleet.stackpin("backup verify", "xingrin-server").exits(0)
    fleet.api("/api/organizations/", "POST", {"name": "lost"})
    listed = fleet.stackpin("backup list", "xingrin-server", "--json").exits(0).json
    assert listed


def test_a_model_change_is_refused_until_its_step_is_declared(fleet: Fleet):
    refused = fleet.update("v1.6.0", xingrin_schema_step={}).exits(3)
    assert "ehole_fingerprint" in refused.text
    assert fleet.pinned() == OLD
    fleet.runs(OLD)
    ran = fleet.update("v1.6.0")
    assert ran.code == 0, ran.text
    fleet.runs("v1.6.0")
    assert fleet.api("/api/fingerprints/ehole/") is not None
    back = fleet.stackpin("rollback", "xingrin", "--yes")
    assert back.code == 0, back.text
    fleet.runs(OLD)


def test_public_host_that_nodes_cannot_use_is_refused(fleet: Fleet):
    for name in ("server", "localhost", "127.0.0.1"):
        ran = fleet.deploy(xingrin_public_host=name).exits(3)
        assert "xingrin_public_host" in ran.text


def test_a_remote_database_that_does_not_answer_is_refused(fleet: Fleet):
    agents = fleet.agents()
    (fleet.folder / "wrong").write_text("not-the-password\n")
    ran = fleet.deploy(
        xingrin_db_host=fleet.lab.host("registry").address,
        xingrin_db_password=f"file:{fleet.folder}/wrong",
    ).exits(3)
    assert "database" in ran.text
    assert "not-the-password" not in ran.text
    assert fleet.agents() == agents


def test_a_node_that_is_the_server_is_refused_and_its_data_kept(fleet: Fleet):
    argv = fleet.argv("workers remove", "xingrin", "server", "--yes")
    argv.remove("xingrin")
    ran = fleet.program(argv).exits(3)
    assert "server" in ran.text
    assert fleet.on("server", "ls /opt/xingrin").split()


def test_removing_a_node_leaves_decoys_alone(fleet: Fleet):
    node = fleet.nodes[-1]
    image = fleet.inspect(node)["Image"]
    fleet.on(node, f"docker run -d --name xingrin-agent-decoy {image} sleep 600")
    fleet.on(node, "mkdir -p /opt/xingrin-decoy && echo mine >/opt/xingrin-decoy/file")
    argv = fleet.argv("workers remove", "xingrin", node, "--yes")
    argv.remove("xingrin")
    fleet.program(argv).exits(0)
    assert node not in fleet.workers()
    names = fleet.on(node, "docker ps -a --format '{{.Names}}'").split()
    assert names == ["xingrin-agent-decoy"]
    assert fleet.on(node, "cat /opt/xingrin-decoy/file").strip() == "mine"
    fleet.on(node, "docker rm -f xingrin-agent-decoy")
    fleet.deploy().exits(0)
    assert fleet.workers()[node]["status"] == "online"


def _server(fleet: Fleet) -> str:
    ask = "docker ps -q --filter label=stackpin.stack=xingrin-server --filter label=stackpin.slot"
    return fleet.on("server", ask).strip()
