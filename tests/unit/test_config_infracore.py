"""InfraCore's variables: parts, ports, environments, checks, refusals, what hosts are told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from infracore_parts import files, parts, service
from pydantic import SecretStr, TypeAdapter

from stackpin import lockfile
from stackpin.config.checks import Check
from stackpin.config.infracore_types import SERVICES
from stackpin.config.problems import ConfigProblems
from stackpin.config.stacks import STACKS
from stackpin.config.types import SecretRef
from stackpin.host.checks_http import judge
from stackpin.host.stack import Stack

CHECK: TypeAdapter[Check] = TypeAdapter(Check)


def given(ref: SecretRef) -> SecretStr:
    return SecretStr(f"value-of-{ref.target}")


def told(**more: Any) -> str:
    with pytest.raises(ConfigProblems) as caught:
        parts(**more)
    return str(caught.value)


def test_six_parts_in_rollout_order() -> None:
    assert STACKS["infracore"].parts == (
        "infracore-files",
        "infracore-snap",
        "infracore-probe",
        "infracore-orchestrator",
        "infracore-console",
        "infracore-gate",
    )
    keepers = {part.keeper for part in STACKS["infracore"].components()}
    assert keepers == {None, "infracore-files"}
    assert not STACKS["infracore"].applies_to(["crm"])


def test_every_port_a_host_uses_is_one_process() -> None:
    ports: list[int] = []
    for part in parts().values():
        ports += part.needs()["ports"]
    assert len(ports) == len(set(ports))
    assert {80, 443, 8082, 9090, 8085, 8086, 18180, 19180, 19182} <= set(ports)


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"ports": {"gate": 8082}}, ["infracore_ports['console']", "infracore_ports['gate']"]),
        ({"ports": {"gate": 18282}}, ["infracore_slots['console']['blue']"]),
        ({"ports": {"probe": 19181}}, ["infracore_slots['gate']['green'] + 1000"]),
        ({"ports": {"gate_tls": 80}}, ["infracore_ports['gate_tls']"]),
        ({"ports": {"gate": 65000}, "overlap": {"gate": False}}, ["65536", "'gate'"]),
        ({"ports": {"snap": 0}}, ["infracore_ports['snap']", "found 0", "at least 1"]),
        ({"ports": {"snap": 65536}}, ["infracore_ports['snap']", "at most 65535"]),
        ({"ports": {"web": 80}}, ["infracore_ports['web']", "gate, gate_tls"]),
        ({"slots": {"gate": {"blue": 1, "green": 1, "rehearsal": 2}}}, ["three different ports"]),
        ({"ports": {"orchestrator": 18290}}, ["infracore_slots['orchestrator']['rehearsal']"]),
        ({"mode": "docker"}, ["'systemd' or 'compose'"]),
        ({"config_name": "../x"}, ["infracore_config_name"]),
        ({"required": ["gate", "gate"]}, ["each service once"]),
        ({"expose": ["gate"]}, ["infracore_expose[0]"]),
        ({"min_cpus": 16}, ["infracore_recommended['cpus']"]),
        ({"registry_username": "u"}, ["infracore_registry_password together"]),
        ({"env": {"INFRA_CORE_SNAP_PORT": "1"}}, ["infracore_ports"]),
        ({"env": {"INFRA_CORE_JWT_SECRET": "x"}}, ["infracore_jwt_secret"]),
        ({"env": {"API_TOKEN": "x"}}, ["infracore_secret_env"]),
        ({"jwt_secret": "verbatim"}, ["must be a reference"]),
        ({"extra_checks": [{"kind": "tcp", "name": "x"}]}, ["checks of the host only"]),
        ({"extra_checks": [{"kind": "disk", "name": "disk"}]}, ["disk is used twice"]),
        ({"guard_seconds": 20.0, "gate": {"settle": 15.0}}, ["infracore_gate"]),
        ({"backup_repository": "rest:https://a:b@x/"}, ["infracore_backup_env"]),
        ({"version": "latest"}, ["infracore_version"]),
    ],
)
def test_wrong_values_are_refused(wrong: dict[str, Any], names: list[str]) -> None:
    message = told(**wrong)
    for name in names:
        assert name in message, message
    assert "verbatim" not in message


def test_without_overlap_the_public_port_is_the_services_own() -> None:
    orchestrator = service("orchestrator")
    assert orchestrator.ports_of_slots == {"blue": 9090, "green": 9090, "rehearsal": 18290}
    assert orchestrator.host_stack().overlap is False
    assert 9090 not in files().needs()["ports"]
    both = service("orchestrator", overlap={"orchestrator": True})
    assert both.ports_of_slots == {"blue": 18292, "green": 18293, "rehearsal": 18290}
    assert 9090 in files(overlap={"orchestrator": True}).needs()["ports"]
    gate = service("gate", overlap={"gate": False})
    assert gate.needs()["ports"] == [80, 18182, 1080, 19182]


def test_slot_environments() -> None:
    assert service("snap").slot_env("blue") == {"INFRA_CORE_SNAP_PORT": "18288"}
    assert service("orchestrator").slot_env("green") == {"INFRA_CORE_ORCH_PORT": "9090"}
    assert service("gate").slot_env("green") == {"INFRA_CORE_GATE_HTTP_PORT": "18181"}
    assert service("console").slot_env("blue") == {
        "INFRA_CORE_CONSOLE_PORT": "18282",
        "INFRA_CORE_CONSOLE_HOST": "127.0.0.1",
    }
    alone = service("console", overlap={"console": False}, expose=["console"])
    assert alone.slot_env("green")["INFRA_CORE_CONSOLE_HOST"] == "0.0.0.0"  # noqa: S104
    assert alone.slot_env("rehearsal")["INFRA_CORE_CONSOLE_HOST"] == "127.0.0.1"


@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize("mode", ["systemd", "compose"])
def test_a_rehearsal_is_led_away_from_everything_live(name: str, mode: str) -> None:
    one = service(name, mode=mode)
    env = one.slot_env("rehearsal")
    folder = f"{one.host_stack().data}/rehearsal/"
    for variable in ("DB_PATH", "SNAP_REPO_DIR", "SNAP_TEMP_DIR"):
        assert env[f"INFRA_CORE_{variable}"].startswith(folder)
    assert env["INFRA_CORE_DB_PATH"].endswith(one.database.rpartition("/")[2])
    assert str(one.ports_of_slots["rehearsal"]) in env.values()


def test_secrets_reach_the_environment_and_nothing_else() -> None:
    one = service("console", jwt_secret="env:JWT", secret_env={"MAIL_PASSWORD": "env:MAIL"})
    env = one.environment(given)
    assert env["INFRA_CORE_JWT_SECRET"] == "value-of-JWT"
    assert (env["INFRA_CORE_ENV"], env["ENVIRONMENT"]) == ("production", "production")
    assert env["MAIL_PASSWORD"] == "value-of-MAIL"
    assert [use.variable for use in one.secrets()] == [
        "infracore_jwt_secret",
        "infracore_secret_env['MAIL_PASSWORD']",
    ]
    assert "INFRA_CORE_JWT_SECRET" not in service("console").environment(given)
    everything = [part.host_stack(given).text() for part in parts(jwt_secret="env:JWT").values()]
    assert not any("value-of" in text for text in everything)


def test_files_have_the_secrets_of_backups_and_the_certificate() -> None:
    tls = {"certificate": "a.pem", "key": "file:~/k"}
    made = files(tls=tls, backup_env={"KEY": "env:K"}, backup_password="env:P")
    uses = {use.variable: use.multiline for use in made.secrets()}
    assert uses == {
        "infracore_tls['key']": True,
        "infracore_backup_password": False,
        "infracore_backup_env['KEY']": False,
    }
    assert "value-of-K" in made.host_stack(given).text()
    assert "value-of-K" not in made.host_stack().text()


def test_checks_of_the_whole_weigh_eight_and_those_of_slots_only_gate() -> None:
    whole = service("gate").checks("host")
    every = [check for name in SERVICES for check in service(name).checks()]
    assert sum(check.weight for check in every) == pytest.approx(8)
    for name in SERVICES:
        own = service(name).checks("slot")
        assert own and all(check.required and check.weight == 0 for check in own)
    assert sum(check.weight for check in whole) == pytest.approx(8)
    required = {check.name for check in whole if check.required}
    assert required == {"runs-gate", "runs-console", "answers-gate", "answers-console"}
    every = {check.name for check in service("gate", required=list(SERVICES)).checks("host")}
    assert len(every) == len(whole)


@pytest.mark.parametrize("mode", ["systemd", "compose"])
@pytest.mark.parametrize("name", SERVICES)
def test_checks_are_read_back_as_they_are_told(name: str, mode: str) -> None:
    for check in service(name, mode=mode).host_stack().as_json()["checks"]:
        assert CHECK.validate_python(check).as_json() == check


@pytest.mark.parametrize("name", SERVICES)
def test_an_error_or_a_page_is_not_healthy(name: str) -> None:
    for check in service(name).checks():
        told = check.as_json()
        if told["kind"] == "http":
            healthy = json.dumps(told["json_has"])
            assert judge(told, 200, {}, healthy, None)[0]
            assert not judge(told, 500, {}, healthy, None)[0]
            assert not judge(told, 200, {}, "<!doctype html><html></html>", None)[0]


def test_what_runs_is_asked_as_the_mode_says() -> None:
    kinds = {check.as_json()["kind"] for check in service("gate").checks("host")}
    assert "systemd" in kinds and "container" not in kinds
    kinds = {check.as_json()["kind"] for check in service("gate", mode="compose").checks("host")}
    assert "container" in kinds and "systemd" not in kinds


def test_what_the_host_is_told_of_a_service() -> None:
    found = service("console").host_stack()
    assert (found.kind, found.opt) == ("slots", "/opt/infra-core/services/console")
    assert found.database == "/var/lib/infra-core/console.db"
    assert found.env_files == ["/etc/infra-core/secrets.env"]
    assert service("gate").host_stack().database is None
    # Strays on the host are the files part's to report: six times would be five too many.
    assert found.as_json()["listeners"] is None
    read = Stack.from_json("infracore-console", found.as_json())
    assert read.ports["rehearsal"] == 18284 and not read.listeners


@pytest.mark.parametrize(
    ("required", "decide"),
    [
        (["console"], {"console", "gate"}),
        (["gate", "console"], {"console", "gate"}),
        (list(SERVICES), set(SERVICES)),
    ],
)
def test_the_host_is_told_which_services_decide(required: list[str], decide: set[str]) -> None:
    told = {name: service(name, required=required).host_stack().as_json() for name in SERVICES}
    read = {name: Stack.from_json(f"infracore-{name}", one) for name, one in told.items()}
    assert {name for name, one in read.items() if one.required} == decide
    assert all(("required" in told[name]) == (name not in decide) for name in SERVICES)


def test_what_the_host_is_told_of_the_files() -> None:
    found = files().host_stack()
    assert found.members == [f"infracore-{name}" for name in SERVICES]
    assert found.backup is not None and found.static is not None
    assert found.backup.paths == ["/etc/infra-core", "/var/lib/infra-core/snapshots"]
    assert found.static.root == "/opt/infra-core"
    assert "443/tcp" in found.as_json()["listeners"]["allowed"]
    assert "443/tcp" not in files(tls=None).listeners()
    assert "8082/tcp" in files(expose=["console"]).listeners()


def test_containers_share_a_project_and_keep_the_ports() -> None:
    found = service("probe", mode="compose").host_stack()
    assert found.kind == "compose" and found.compose is not None
    assert (found.compose.project, found.compose.slot_service) == ("infracore", "probe")
    assert found.compose.host_network
    assert found.ports == service("probe").host_stack().ports
    assert found.database == "/var/lib/docker/volumes/infracore_data/_data/console.db"
    data = "/var/lib/docker/volumes/infracore_data/_data"
    backup = files(mode="compose").host_stack().backup
    assert backup is not None and f"{data}/snapshots" in backup.paths


def test_images_follow_the_pin_in_compose_mode_only() -> None:
    own = service("gate", mode="compose", registry="10.0.0.5:5000", namespace="team")
    assert own.own_images() == {"gate": "10.0.0.5:5000/team/infracore-gate:v1.0.0"}
    assert set(own.images()) == set(SERVICES)
    assert files(mode="compose").own_images() == {}
    assert lockfile.uses_images(own) and lockfile.key(own) == "infracore"
    assert not lockfile.uses_images(service("gate"))
    moved = own.model_copy(update={"version": "v1.1.0"})
    assert moved.images()["snap"].endswith(":v1.1.0")


def test_preflight_asks_for_what_the_product_needs() -> None:
    needs = files().needs()
    assert (needs["cpus"], needs["memory_total_mb"], needs["disk_mb"]) == (2, 4096, 20480)
    assert needs["recommended"] == {"cpus": 4, "memory_mb": 8192, "disk_mb": 51200}
    assert not needs["docker"] and "docker" not in needs["versions"]
    assert files(mode="compose").needs()["docker"]


def test_files_own_what_an_uninstall_takes_beside_them() -> None:
    found = files().host_stack()
    assert {"/etc/infra-core", "/var/log/infra-core"} <= set(found.owned)
    assert "/etc/nginx/sites-enabled/stackpin-infracore.conf" in found.owned
    # What backups hold stays with the data when that is asked for: secrets and certificates.
    assert found.backup is not None and "/etc/infra-core" in found.backup.paths
    assert Stack.from_json("infracore-files", found.as_json()).owned == tuple(found.owned)
    assert "owned" not in service("gate").host_stack().as_json()
