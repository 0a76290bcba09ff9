"""Stock pyinfra alone over a fleet: safe, idempotent, closed to strangers. In file order."""

from __future__ import annotations

import re
import ssl

import pytest
from cryptography import x509
from fleet_kit import AGENT, INVENTORY, OLD, Fleet
from project import PYINFRA, Ran, flags
from stock_host import plain

pytestmark = pytest.mark.timeout(600)

NODES = 3
PORTS = (8083, 5432, 6379)
SECRETS = "/etc/stackpin/xingrin-server/secrets.env"
CERTIFICATE = "/etc/stackpin/xingrin-server/tls/fullchain.pem"


def pyinfra(fleet: Fleet, deploy: str, **data: object) -> Ran:
    limit = {"xingrin": "xingrin", "workers": "workers"}[deploy]
    argv = [PYINFRA, INVENTORY, f"deploys/{deploy}.py", "--limit", limit, "-y"]
    ran = fleet.program([*argv, *flags({**fleet.DATA, **data})])
    return Ran(ran.code, plain(ran.out), plain(ran.err))


def changed(ran: Ran) -> list[str]:
    """Operations that did something on some host, from the table pyinfra prints at the end."""
    rows = re.findall(r"^    (\S.*?)  +\d+ +(\d+|-) +(?:\d+|-) +(?:\d+|-) *$", ran.text, re.M)
    named = [name.rpartition("| ")[2] for name, count in rows if count != "-"]
    return [name for name in named if name != "Grand total"]


def reaches(fleet: Fleet, host: str, port: int) -> bool:
    probe = f"timeout 3 bash -c '</dev/tcp/{fleet.host.address}/{port}' 2>/dev/null && echo yes"
    return fleet.on(host, probe, check=False).strip() == "yes"


@pytest.fixture(scope="module")
def pinned(fleet: Fleet) -> Fleet:
    """The fleet as it is, with the release of these tests locked."""
    fleet.pin(OLD)
    fleet.stackpin("pin", "xingrin", "--version", OLD).exits(0)
    return fleet


@pytest.fixture(scope="module")
def deployed(pinned: Fleet) -> Fleet:
    """The fleet after the two deploy files."""
    pyinfra(pinned, "xingrin").exits(0)
    pyinfra(pinned, "workers").exits(0)
    return pinned


REFUSED = [
    ("xingrin", {"xingrin_public_host": "server"}, "xingrin_public_host"),
    ("workers", {"xingrin_public_host": "127.0.0.1"}, "nodes of this inventory can reach"),
    ("xingrin", {"xingrin_version": "latest"}, "latest is not a version"),
    ("xingrin", {"xingrin_version": "v9.9.9"}, "stackpin pin"),
    ("xingrin", {"xingrin_db_host": "db.example.org"}, "xingrin_db_password"),
    ("workers", {"xingrin_registry_ca": "absent.pem"}, "xingrin_registry_ca"),
    ("workers", {"xingrin_versoin": "v1.2.0"}, "Did you mean xingrin_version"),
]


@pytest.mark.parametrize(("deploy", "data", "why"), REFUSED)
def test_refused_before_anything_is_touched(
    pinned: Fleet, deploy: str, data: dict[str, object], why: str
):
    ran = pyinfra(pinned, deploy, **data)
    assert ran.code == 1
    assert why in ran.text
    assert "Traceback" not in ran.text
    assert "Starting operation" not in ran.text


def test_two_deploy_files_bring_up_the_fleet(deployed: Fleet):
    deployed.runs(OLD)
    rows = deployed.workers()
    assert set(rows) == set(deployed.nodes)
    deployed.wait_for(
        lambda: {row["status"] for row in deployed.workers().values()} == {"online"},
        20,
        "all nodes online",
    )
    for node in deployed.nodes:
        listed = deployed.on(node, "docker images --format '{{.Repository}}:{{.Tag}}'")
        assert f"xingrin-worker:{OLD}" in listed


def test_a_second_run_changes_nothing_and_keeps_secrets_and_certificate(deployed: Fleet):
    ask = f"sha256sum {SECRETS} {CERTIFICATE}; docker ps -q --no-trunc | sort"
    before, agents = deployed.on("server", ask), deployed.agents()
    assert changed(pyinfra(deployed, "xingrin").exits(0)) == []
    assert changed(pyinfra(deployed, "workers").exits(0)) == []
    assert (deployed.on("server", ask), deployed.agents()) == (before, agents)


def test_secrets_are_made_on_the_host_and_stay_there(deployed: Fleet):
    text = deployed.on("server", f"stat -c %a {SECRETS}; cat {SECRETS}")
    mode, *lines = text.split()
    made = {n: v.strip('"') for n, _, v in (line.partition("=") for line in lines)}
    assert mode == "600"
    assert {name: len(value) for name, value in made.items()} == {
        "DB_PASSWORD": 32,
        "SECRET_KEY": 64,
        "DJANGO_SECRET_KEY": 64,
    }
    ask = "docker ps -q --filter label=stackpin.service=server"
    server = deployed.inspect("server", deployed.on("server", ask).strip())["Config"]["Env"]
    assert f"SECRET_KEY={made['SECRET_KEY']}" in server
    leaked = "grep -rlF -- {} /opt /etc/stackpin /var/lib/stackpin 2>/dev/null || true"
    assert deployed.on("server", leaked.format(made["DB_PASSWORD"])).split() == [SECRETS]


def test_certificate_is_for_the_public_host(deployed: Fleet):
    served = x509.load_pem_x509_certificate(deployed.on("server", f"cat {CERTIFICATE}").encode())
    names = served.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == [deployed.host.address]
    ask = f"openssl s_client -connect {deployed.host.address}:8083 </dev/null 2>/dev/null"
    answer = deployed.on(deployed.nodes[0], ask)
    pem = answer[answer.index("-----BEGIN") : answer.index("-----END") + 25]
    assert ssl.PEM_cert_to_DER_cert(pem) == ssl.PEM_cert_to_DER_cert(
        deployed.on("server", f"cat {CERTIFICATE}").strip()
    )


def test_ports_are_open_to_nodes_and_to_nobody_else(deployed: Fleet):
    assert {p: reaches(deployed, deployed.nodes[0], p) for p in PORTS} == dict.fromkeys(PORTS, True)
    assert {p: reaches(deployed, "registry", p) for p in PORTS} == dict.fromkeys(PORTS, False)
    assert reaches(deployed, "registry", 22)


def test_rules_somebody_changed_are_seen_and_put_back(deployed: Fleet):
    table = "inet stackpin_xingrin_server"
    deployed.on("server", f"nft add element {table} sources4 '{{ 203.0.113.9 }}'")
    ran = pyinfra(deployed, "xingrin").exits(0)
    assert changed(ran) == ["XingRin: firewall"]
    assert "203.0.113.9" not in deployed.on("server", f"nft list table {table}")
    deployed.on("server", f"nft delete table {table}")
    assert changed(pyinfra(deployed, "xingrin").exits(0)) == ["XingRin: firewall"]
    assert not reaches(deployed, "registry", 8083)


def test_a_node_the_server_lost_is_registered_anew_and_its_agent_told(deployed: Fleet):
    node, *others = deployed.nodes
    lost = deployed.workers()[node]["id"]
    before = deployed.agents()
    deployed.api(f"/api/workers/{lost}/", "DELETE")
    pyinfra(deployed, "workers").exits(0)
    found = deployed.workers()[node]["id"]
    assert found != lost
    assert f"WORKER_ID={found}" in deployed.inspect(node, AGENT)["Config"]["Env"]
    assert {n: deployed.agents()[n] for n in others} == {n: before[n] for n in others}
