"""Docker, firewall, secrets and registration, against facts given by hand."""

import json
import subprocess
import sys

import pytest
from fake_host import run, stdin

from facts.docker import Daemon, DaemonState, Registration, Worker
from facts.files import Node, Tree
from facts.firewall import Table, TableState
from facts.generated import Names
from operations import docker_engine, firewall, generated, registration
from operations.generated import _MAKE

# docker_engine.daemon


MIRRORS = docker_engine.settings(["https://mirror.example.org"])


def daemon(text, mirrors):
    return run(docker_engine.daemon, {Daemon: DaemonState(text, mirrors)}, settings=MIRRORS)


def test_daemon_settings_are_merged_key_by_key():
    commands, changes, _ = daemon('{"log-driver": "journald"}', [])
    import base64

    written = json.loads(base64.b64decode(commands[0].connector_arguments["_stdin"]))
    assert written == {
        "log-driver": "journald",
        "registry-mirrors": ["https://mirror.example.org/"],
    }
    assert "reload" in str(commands[1])
    assert "restart" not in str(commands[1])
    assert changes[0].subject.endswith("registry-mirrors")


def test_daemon_settings_in_force_are_left_alone():
    text = json.dumps(MIRRORS | {"debug": False})
    commands, changes, noops = daemon(text, ["https://mirror.example.org"])
    assert (commands, changes) == ([], [])
    assert noops
    assert run(docker_engine.daemon, {}, settings={})[0] == []


def test_daemon_settings_written_but_not_read_are_reread():
    commands, _, _ = daemon(json.dumps(MIRRORS), [])
    assert len(commands) == 1
    assert "reload" in str(commands[0])


def test_a_daemon_file_that_is_not_json_is_refused():
    commands, _, _ = daemon("{nonsense", None)
    assert len(commands) == 1
    assert "exit 1" in str(commands[0])


def test_the_daemon_fact_reads_what_the_host_prints():
    fact = Daemon.__new__(Daemon)
    assert fact.process([]) == DaemonState(None, None)
    assert fact.process(["file=e30=", 'mirrors=["https://m/"]']) == DaemonState("{}", ["https://m"])
    assert fact.process(["mirrors=null"]).mirrors == []


def test_registry_files_hold_the_login_in_secret():
    files = docker_engine.registry_entries("10.0.0.5:5000", ("lab", "pass-word-1"), "PEM")
    config = next(f for f in files if f.path.endswith("config.json"))
    assert (config.mode, config.secret) == ("0600", True)
    assert "10.0.0.5:5000" in config.content
    assert "pass-word-1" not in repr(files)
    assert any(f.path == "/etc/docker/certs.d/10.0.0.5:5000/ca.crt" for f in files)
    bare = docker_engine.registry_entries("docker.io", None, None)
    assert not any("certs.d" in f.path for f in bare)


# firewall


TEXT = firewall.rules("xingrin-server", [8083, 5432], ["10.0.0.21", "10.0.1.0/24"], ["xingrin0"])


def test_rules_name_only_the_declared_sources():
    assert "elements = { 5432, 8083 }" in TEXT
    assert "elements = { 10.0.0.21, 10.0.1.0/24 }" in TEXT
    assert 'iifname { "lo", "xingrin0" } accept' in TEXT
    assert "set sources6 {\n\t\ttype ipv6_addr\n\t\tflags interval\n\t}" in TEXT
    joined = firewall.rules("s", [1], ["10.0.0.0/25", "10.0.0.128/25", "10.0.0.7"], [])
    assert "elements = { 10.0.0.0/24 }" in joined


def table(state):
    return run(firewall.loaded, {Table: state}, stack="xingrin-server", text=TEXT)


def test_firewall_is_loaded_when_absent_or_changed_and_else_left_alone():
    digest = __import__("hashlib").sha256(TEXT.encode()).hexdigest()
    commands, changes, _ = table(TableState())
    assert str(commands[0]).startswith("nft -f /etc/stackpin/xingrin-server/firewall.nft")
    assert changes[0].before is None
    assert table(TableState("live", digest, "live"))[0] == []
    assert table(TableState("other", digest, "live"))[1][0].before == "changed by someone"
    assert table(TableState("live", "old", "live"))[1][0].before == "of another declaration"


# generated.secrets


def make(path, digits, same):
    asked = json.dumps({"path": str(path), "digits": digits, "same": same})
    subprocess.run([sys.executable, "-c", _MAKE], input=asked, text=True, check=True)
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


def test_secrets_are_made_once_and_kept(tmp_path):
    path = tmp_path / "secrets.env"
    first = make(path, {"DB_PASSWORD": 32, "SECRET_KEY": 64}, {"DJANGO_SECRET_KEY": "SECRET_KEY"})
    assert {n: len(v) - 2 for n, v in first.items()} == {
        "DB_PASSWORD": 32,
        "SECRET_KEY": 64,
        "DJANGO_SECRET_KEY": 64,
    }
    assert first["SECRET_KEY"] == first["DJANGO_SECRET_KEY"]
    assert path.stat().st_mode & 0o777 == 0o600
    again = make(path, {"DB_PASSWORD": 32, "OTHER": 16}, {})
    assert {n: again[n] for n in first} == first
    assert len(again["OTHER"]) == 18


def secrets(names, node):
    facts = {Names: names, Tree: {"/s.env": node} if node else {}}
    arguments = {"path": "/s.env", "digits": {"A": 32}, "same": {"B": "A"}}
    return run(generated.secrets, facts, **arguments)


@pytest.mark.parametrize(
    ("names", "mode", "acts"),
    [([], None, True), (["A"], "600", True), (["A", "B"], "644", True), (["A", "B"], "600", False)],
)
def test_secrets_operation(names, mode, acts):
    node = Node("file", mode, "root", "root", 5) if mode else None
    commands, changes, noops = secrets(names, node)
    assert bool(commands) == bool(changes) == acts
    assert bool(noops) != acts
    if acts:
        assert stdin(commands[0])["digits"] == {"A": 32}


def test_names_fact_never_prints_values():
    command = Names.command(None, "/s.env")
    assert "cat" not in command
    assert "\\1/p" in command


# registration.registered


def registered(found):
    arguments = {
        "server_url": "https://10.0.0.10:8083",
        "node": "n1",
        "address": "10.0.0.21",
        "ssh_port": 22,
        "username": "root",
    }
    return run(registration.registered, {Worker: found}, **arguments)


def test_a_known_node_is_left_alone_also_when_the_server_is_silent():
    assert registered(Registration("7", known=True))[0] == []
    commands, _, noops = registered(Registration("7"))
    assert commands == []
    assert "could not be asked" in noops[0]


@pytest.mark.parametrize("found", [Registration(), Registration("7", known=False)])
def test_an_unknown_node_is_registered_without_a_password(found):
    commands, changes, _ = registered(found)
    asked = stdin(commands[0])
    assert (asked["name"], asked["address"], asked["verify"]) == ("n1", "10.0.0.21", False)
    assert "password" not in asked
    assert changes[0].subject == "registration of n1"


def test_worker_fact_reads_the_answer():
    fact = Worker.__new__(Worker)
    assert fact.process(['{"ok": true, "id": 7, "known": true}']) == Registration("7", known=True)
    assert fact.process(['{"ok": false}']) == fact.process([]) == Registration()
