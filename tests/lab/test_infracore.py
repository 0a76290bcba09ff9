"""InfraCore as systemd units on a real host: from bare through upgrades, bad versions, and back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from infracore_kit import SERVICES, Infracore
from project import Ran, host_name

from stackpin.lab import Lab
from stackpin.lab.traffic import gate_traffic

pytestmark = pytest.mark.timeout(900)
GOOD, NEXT = "v1.0.0", "v1.1.0"
HARDENED = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectKernelModules": "yes",
    "ProtectControlGroups": "yes",
}


@pytest.fixture(scope="module")
def core(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Infracore]:
    host = lab.reset(host_name(lab))
    yield Infracore.make(lab, host, tmp_path_factory.mktemp("infracore"))


def live_unit(core: Infracore, service: str) -> str:
    part = f"infracore-{service}"
    return f"{part}@{core.state(part)['live_slot']}.service"


def test_a_failing_preflight_tells_all_and_changes_nothing(core: Infracore):
    core.stackpin("check", "infracore").exits(0)
    before = core.tree()
    more = {"infracore_min_memory_mb": 10**7, "infracore_recommended": {}}
    ran = core.stackpin("preflight", "infracore", **more).exits(3)
    for word in ("memory", "disk", "port 8082", "clock", "dpkg lock", "kernel"):
        assert word in ran.text
    core.deploy(**more).exits(3)
    assert core.tree() == before


def test_a_foreign_program_on_a_port_is_named(core: Infracore):
    listen = "import socket,time; s=socket.create_server(('', 8086)); time.sleep(60)"
    core.on_host(f'setsid python3 -c "{listen}" >/dev/null 2>&1 </dev/null & sleep 1')
    try:
        ran = core.deploy().exits(3)
    finally:
        core.on_host("pkill -f '[c]reate_server'; true")
    assert "port 8086" in ran.text
    assert "python3" in ran.text


def test_first_deploy_from_bare(core: Infracore):
    core.deploy().exits(0)
    core.runs(GOOD)
    for service in SERVICES:
        unit = live_unit(core, service)
        assert core.on_host(f"systemctl is-active {unit}").strip() == "active"
        assert core.on_host(f"systemctl show -p User --value {unit}").strip() == "infracore"
    site = core.on_host("readlink -f /opt/infra-core/current").strip()
    assert site.startswith("/opt/infra-core/releases/v1.0.0-")
    told = json.loads(core.on_host("cat /opt/infra-core/current/deployment-info.json"))
    assert told["version"] == GOOD
    assert set(told["services"]) == set(SERVICES)
    assert core.outside("/api/v1/health")[0] == 200
    assert b"</html>" in core.outside("/")[1], "the interface was built and is served"


def test_units_are_hardened(core: Infracore):
    for service in SERVICES:
        unit = live_unit(core, service)
        names = ",".join([*HARDENED, "CapabilityBoundingSet", "AmbientCapabilities"])
        text = core.on_host(f"systemctl show -p {names} {unit}")
        shown = dict(line.split("=", 1) for line in text.splitlines())
        assert {name: shown[name] for name in HARDENED} == HARDENED
        assert shown["CapabilityBoundingSet"] == "", "behind nginx nobody needs a privilege"
        # Even root, in what the service sees of the host, cannot write there.
        inside = f"nsenter -m -t $(systemctl show -p MainPID --value {unit})"
        told = core.on_host(f"{inside} touch /etc/stray /opt/infra-core/stray 2>&1; true")
        assert told.count("Read-only file system") == 2, told
        told = core.on_host(f"systemd-analyze security --no-pager {unit} | tail -1; true")
        score = re.search(r"exposure level for \S+: ([\d.]+)", told)
        assert score, told
        assert float(score[1]) < 2.0, told


def test_only_what_is_declared_listens_outside(core: Infracore):
    shown = core.on_host("ss -Hltn | awk '{print $4}'")
    for port in (8082, 8085, 8086):
        mine = [line for line in shown.split() if line.endswith(f":{port}")]
        assert mine, shown
        assert all(line.startswith(("127.0.0.1", "[::1]")) for line in mine), shown


def test_secrets_stay_on_the_host(core: Infracore):
    modes = core.on_host("stat -c '%a %U' /etc/infra-core/secrets.env").strip()
    assert modes == "600 root"
    secret = core.on_host("sed -n 's/^INFRA_CORE_JWT_SECRET=//p' /etc/infra-core/secrets.env")
    secret = secret.strip().strip('"')
    assert len(secret) >= 32
    assert secret not in core.on_host("ps axww")
    assert secret not in core.on_host("cat /opt/infra-core/current/configs/*.yaml")
    for path in (core.folder / "evidence").rglob("*"):
        assert not path.is_file() or secret not in path.read_text(errors="replace"), path


def test_a_second_deploy_changes_nothing(core: Infracore):
    before = core.processes()
    core.deploy().exits(0)
    assert core.processes() == before
    core.stackpin("drift", "infracore").exits(0)


def test_upgrade_under_load_loses_nothing(core: Infracore):
    core.register("before")
    token = core.token("before")
    with gate_traffic(core.lab, core.host.name) as load:
        core.update(NEXT).exits(0)
        result = load.stop()
    assert result.failed == 0, result.samples
    assert result.requests > 500
    assert result.lost == []
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
def test_a_bad_version_is_taken_back(core: Infracore, version: str, service: str):
    with gate_traffic(core.lab, core.host.name, rate=30) as load:
        # The probe dies after 20 s: it has to stay up for longer than that.
        gate = {**core.DATA["infracore_gate"], "min_healthy": 25.0, "timeout": 60.0}  # type: ignore[dict-item]
        more = {"infracore_gate": gate} if service == "probe" else {}
        ran = core.update(version, **more).exits(4)
        result = load.stop()
    assert f"infracore-{service}" in ran.text
    assert result.failed == 0, result.samples
    core.runs(NEXT)
    assert core.pinned() == NEXT
    assert core.login("before")[0] == 200


def test_the_way_back_is_recorded_in_reverse_order(core: Infracore):
    paths = sorted((core.folder / "evidence").rglob("rollback.json"))
    told = json.loads(paths[-1].read_text())
    parts = [step["part"] for step in told["steps"]]
    order = ["infracore-files", *(f"infracore-{service}" for service in SERVICES)]
    assert parts == sorted(parts, key=order.index, reverse=True)
    assert parts[-1] == "infracore-files"


def test_a_dead_required_service_fails_the_score_and_another_only_lowers_it(core: Infracore):
    def verify(*services: str, **data: object) -> Ran:
        units = " ".join(live_unit(core, service) for service in services)
        core.on_host(f"systemctl stop {units}")
        try:
            return core.stackpin("verify", "infracore", "--json", **data)
        finally:
            core.on_host(f"systemctl start {units}")

    core.stackpin("verify", "infracore").exits(0)
    ran = verify("probe").exits(0)
    (health,) = ran.json["health"].values()
    assert (health["passed"], health["score"]) == (True, 0.9)
    assert "infracore-probe: not healthy, and not required" in ran.err
    (health,) = verify("console").exits(5).json["health"].values()
    assert not health["passed"]
    assert health["score"] >= 0.75, "enough, but for a required one"
    (health,) = verify("probe", "snap", "orchestrator").exits(5).json["health"].values()
    assert health["score"] < 0.75, "nobody required, but too many"
    core.stackpin("verify", "infracore").exits(0)


def test_rollback_goes_to_the_version_before(core: Infracore):
    with gate_traffic(core.lab, core.host.name) as load:
        ran = core.stackpin("rollback", "infracore", "--yes").exits(0)
        result = load.stop()
    assert result.failed == 0, result.samples
    core.runs(GOOD)
    # The kit names its host with --limit, and other hosts may not have gone back.
    assert f"stays {NEXT}" in ran.text
    core.pin(GOOD)
    assert core.login("before")[0] == 200


def test_current_is_never_missing(core: Infracore):
    core.on_host(
        "rm -f /run/look.*; cat >/run/look.sh <<'EOF'\n"
        "while [ ! -e /run/look.stop ]; do [ -e /opt/infra-core/current/configs ] || "
        "echo missing; sleep 0.02; done; echo end\nEOF\n"
        "setsid sh /run/look.sh >/run/look.log 2>&1 </dev/null &"
    )
    core.update(NEXT).exits(0)
    core.stackpin("rollback", "infracore", "--yes").exits(0)
    core.pin(GOOD)
    core.on_host("touch /run/look.stop; sleep 0.3")
    assert core.on_host("cat /run/look.log").split() == ["end"]


def test_configuration_is_read_from_the_tree_and_followed(core: Infracore):
    moved = {"infracore_ports": {"console": 18982}}
    refused = core.deploy(**moved).exits(3)
    assert "infracore_ports" in refused.text, "the gate that serves knows the old port"
    core.stackpin("stop", "infracore", "--yes").exits(0)
    core.deploy(**moved).exits(0)
    text = core.on_host("cat /opt/infra-core/current/configs/production.yaml")
    assert "18982" in text
    assert core.ask(18982, "/api/v1/health")[0] == 200
    assert core.outside("/api/v1/health")[0] == 200, "the gate found the console's new port"
    core.stackpin("stop", "infracore", "--yes").exits(0)
    core.deploy().exits(0)
    core.healthy()
