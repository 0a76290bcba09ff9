"""What server and nodes consist of: compose file, agent, files, releases."""

import json

import pytest
from fake_host import run
from pydantic import SecretStr
from xingrin_kit import DIGEST, images, server, worker

from facts.stacks import StackState
from operations import releases, worker_content, xingrin_content
from operations.entries import File
from stackpin.errors import Refused


def given(ref):
    return SecretStr(f"value-of-{ref.target}")


def compose(*, nodes=True, **more):
    settings = server(**more)
    made = xingrin_content.release(settings, given, images(settings), ".", nodes=nodes)
    return json.loads(made.unit_text.partition("\n")[2]), made


def test_slots_differ_in_name_profile_and_label_alone():
    document, _ = compose()
    blue, green = (document["services"][f"server-{s}"] for s in ("blue", "green"))
    assert (blue.pop("profiles"), green.pop("profiles")) == (["blue"], ["green"])
    assert (blue["labels"].pop("stackpin.slot"), green["labels"].pop("stackpin.slot")) == (
        "blue",
        "green",
    )
    assert blue == green
    assert blue["networks"] == {"xingrin_network": {"aliases": ["server"]}}


def test_the_id_of_a_release_is_keyed_by_a_secret_it_holds(monkeypatch):
    monkeypatch.setattr(xingrin_content, "image_release", lambda *given: given)
    settings = server(secret_env={"SCAN_API_TOKEN": "env:SCAN"}, admin_password="env:ADMIN")
    made = xingrin_content.release(settings, given, images(settings), ".", nodes=True)
    assert made[5] == "value-of-SCAN"


def test_compose_has_the_services_of_the_product():
    document, _ = compose()
    services = document["services"]
    assert set(services) == {
        "server-blue",
        "server-green",
        "postgres",
        "redis",
        "frontend",
        "agent",
        "nginx",
    }
    assert all(service["image"].endswith(DIGEST) for service in services.values())
    assert not any("depends_on" in service for service in services.values())
    agent = services["agent"]
    assert agent["container_name"] == "xingrin-agent"
    assert agent["environment"]["WORKER_NAME"] == "\u672c\u5730\u8282\u70b9"
    assert agent["volumes"] == ["/proc:/host/proc:ro"]
    assert services["nginx"]["ports"] == ["8083:8083"]
    assert services["nginx"]["networks"] == {"xingrin_network": {}}
    assert document["networks"]["xingrin_network"]["name"] == "xingrin_network"


def test_compose_names_variables_and_holds_no_value():
    document, made = compose(db_password="env:SECRET", env={"SCAN_RETENTION_DAYS": "7"})
    names = document["services"]["server-blue"]["environment"]
    assert {"DB_PASSWORD", "SECRET_KEY", "DJANGO_SECRET_KEY", "SCAN_RETENTION_DAYS"} <= set(names)
    assert "value-of-SECRET" not in made.unit_text
    assert "value-of-SECRET" in made.env_text
    assert made.as_json()["images"]["worker"].endswith(DIGEST)


def test_modes_leave_services_out():
    remote, _ = compose(db_host="db.example.org", db_password="env:SECRET")
    assert "postgres" not in remote["services"]
    assert "volumes" not in remote
    bare, _ = compose(nodes=False, frontend=False)
    assert not {"frontend", "nginx"} & set(bare["services"])
    served, _ = compose(nodes=True, frontend=False)
    nginx = served["services"]["nginx"]
    assert "frontend" not in served["services"]
    assert nginx["networks"] == {"xingrin_network": {"aliases": ["frontend"]}}


def test_firewall_guards_what_is_published():
    assert xingrin_content.ports(server(), nodes=True) == [5432, 6379, 8083]
    assert xingrin_content.ports(server(frontend=False), nodes=False) == [5432, 6379]
    text = xingrin_content.rules(server(allow=["192.0.2.0/24"]), ["10.0.0.21", "2001:db8::1"])
    assert "10.0.0.21, 192.0.2.0/24" in text
    assert "elements = { 2001:db8::1 }" in text


def test_given_secrets_are_not_made_up():
    digits, same = xingrin_content.generated(server())
    assert digits == {"DB_PASSWORD": 32, "SECRET_KEY": 64}
    assert same == {"DJANGO_SECRET_KEY": "SECRET_KEY"}
    settings = server(db_password="env:A", secret_key="env:B")
    assert xingrin_content.generated(settings) == ({}, {})


def test_files_of_the_server_keep_secrets_out_of_sight(tmp_path):
    (tmp_path / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\n")
    settings = server(
        registry_ca="ca.crt",
        registry_username="lab",
        registry_password="env:REG",
        backup_password="env:BAK",
    )
    every = xingrin_content.entries(settings, given, tmp_path, images(settings), ["10.0.0.21"])
    paths = [entry.path for entry in every]
    assert len(paths) == len(set(paths))
    for path in paths:
        parent = path.rpartition("/")[0]
        assert parent not in paths or paths.index(parent) < paths.index(path)
    secret = {e.path for e in every if isinstance(e, File) and e.secret}
    assert secret == {
        "/etc/stackpin/docker/config.json",
        f"{xingrin_content.SETTINGS}/restic.password",
    }
    assert "value-of" not in repr(every)


def test_certificates_are_read_and_judged(tmp_path):
    (tmp_path / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\n")
    for name in ("absent.pem", "key.pem"):
        with pytest.raises(Refused, match="xingrin_public_ca"):
            xingrin_content.read_pem("xingrin_public_ca", name, tmp_path)
    assert xingrin_content.read_pem("xingrin_public_ca", None, tmp_path) is None


def test_agent_has_exactly_the_products_flags():
    settings = worker()
    own = {r: i for r, i in images(settings).items() if r in settings.own_images()}
    made = worker_content.release(settings, own, ".")
    assert json.loads(made.unit_text) == {
        "name": "xingrin-agent",
        "image": f"10.0.0.5:5000/yyhuni/xingrin-agent:v1.2.0@{DIGEST}",
        "restart": "always",
        "network": None,
        "volumes": ["/proc:/host/proc:ro"],
        "ports": [],
        "command": [],
        "pull": "missing",
    }
    assert set(made.images) == {"agent", "worker"}
    assert "SERVER_URL" in made.env_text
    assert "https://10.0.0.10:8083" in made.env_text
    other = own | {"worker": own["worker"].replace("a" * 64, "b" * 64)}
    assert worker_content.release(settings, other, ".").id != made.id


# releases.activate without an artifact


def activate(release, **state):
    known = {"installed": True, "live_release": release.id, "live_slot": "blue"}
    slots = {"slots": {"blue": {"active": "active"}}}
    releases_ = {"releases": [{"id": release.id, "complete": True}]}
    facts = {StackState: known | slots | releases_ | state}
    return run(releases.activate, facts, stack="xingrin-worker", release=release)


def test_a_release_of_images_uploads_nothing():
    settings = worker()
    release = worker_content.release(settings, images(settings), ".")
    commands, changes, _ = activate(release, live_release=None)
    assert [str(c).split()[2] for c in commands] == ["receive", "rollout"]
    assert activate(release)[0] == []
    commands, changes, _ = activate(release, live_changed=["image"])
    assert [str(c).split()[2] for c in commands] == ["receive", "rollout"]
    assert "image not as released" in changes[0].before
