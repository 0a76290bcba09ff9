"""Activating releases and nginx sites, against facts given by hand."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from fake_host import TOKEN, node_of, run, stdin
from pyinfra.api.command import FileUploadCommand
from pyinfra.api.util import get_file_io

from facts.files import Node, Tree
from facts.nginx import PackagedDefaultSite
from facts.stacks import PROGRAM as PYZ
from facts.stacks import StackState
from operations import nginx, notes, releases
from operations.entries import File, Link
from operations.packing import packed
from stackpin.config.release import Release

# releases.activate

RELEASE = Release.make("v1.0.0", "5" * 64, "crm.pyz", {"T": TOKEN}, "[Unit]\n", key="k")
RUNNING = {
    "installed": True,
    "live_release": RELEASE.id,
    "live_slot": "blue",
    "slots": {"blue": {"active": "active"}},
    "releases": [{"id": RELEASE.id, "complete": True}],
}


def activate(state, data=None, tree=None):
    facts = {StackState: state, Tree: tree or {}}
    return run(releases.activate, facts, data, stack="crm", release=RELEASE, artifact=b"bytes")


def called(commands):
    return [str(c).split()[2] for c in commands if str(c).startswith("python3")]


def test_activate_leaves_the_live_release_alone():
    commands, changes, noops = activate(RUNNING)
    assert (commands, changes) == ([], [])
    assert RELEASE.id in noops[0]


def test_activate_on_a_bare_host_uploads_receives_and_rolls_out():
    commands, changes, _ = activate({"installed": False})
    assert sum(isinstance(c, FileUploadCommand) for c in commands) == 1
    assert called(commands) == ["receive", "rollout"]
    assert changes == [notes.Change("release", "crm", None, RELEASE.id)]
    assert TOKEN not in repr(commands) + repr(changes)
    received = next(stdin(c) for c in commands if "receive" in str(c))
    assert received["env"] == RELEASE.env_text
    assert received["release"]["id"] == RELEASE.id


def test_activate_does_not_send_what_the_host_has():
    there = f"/var/lib/stackpin/crm/incoming/{'5' * 64}"
    node = Node("file", "600", "root", "root", 5, None, "5" * 64)
    assert called(activate({"installed": True}, tree={there: node})[0]) == ["receive", "rollout"]
    state = RUNNING | {"live_release": "v0.9.0-00000000"}
    commands, changes, _ = activate(state)
    assert called(commands) == ["receive", "rollout"]
    assert len(commands) == 2
    assert changes[0].before == "v0.9.0-00000000"


PROGRAM = b"the same again and again " * 4000
ARCHIVE = os.urandom(100_000)


@pytest.mark.parametrize("content", [PROGRAM, ARCHIVE], ids=["shrinks", "does not shrink"])
@pytest.mark.parametrize("as_file", [True, False])
@pytest.mark.parametrize("stock", [True, False], ids=["stock pyinfra", "stackpin"])
def test_an_upload_arrives_as_it_was_or_not_at_all(content, as_file, stock, tmp_path):
    given = tmp_path / "crm.pyz"
    given.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    release = Release.make("v1.0.0", digest, "crm.pyz", {}, "[Unit]\n", key="k")
    commands, _, _ = run(
        releases.activate,
        {StackState: {"installed": True}},
        {"takes_files": not stock},
        stack="crm",
        release=release,
        artifact=given if as_file else content,
    )
    assert called(commands) == (["receive", "rollout"] if stock else ["rollout"])
    sending = commands[:-1]
    assert len(sending) == (4 if stock else 1)
    given = sending[-1].connector_arguments["_stdin"]
    source, asked = (sending[1].src, given) if stock else (given.source, given.text)
    with get_file_io(str(source) if isinstance(source, Path) else source) as file:
        sent = file.read()
    assert stock or given.size == len(sent)
    assert (len(sent) < 2000) == (content is PROGRAM)

    def arrived(bytes_on_the_way, left_before=()):
        """What the host has under its name after `bytes_on_the_way` were sent."""
        folder = tmp_path / f"host{len(list(tmp_path.iterdir()))}"
        there = "/var/lib/stackpin/crm/incoming"
        for name in left_before:
            folder.mkdir(exist_ok=True)
            (folder / name).write_bytes(b"of a killed run")
        for command in sending:
            if isinstance(command, FileUploadCommand):
                Path(command.dest.replace(there, str(folder))).write_bytes(bytes_on_the_way)
                continue
            text = str(command).replace(there, str(folder))
            text = text.replace(f"python3 {PYZ} receive crm", f"cat >{folder}.received")
            ran = subprocess.run(
                ["sh", "-c", text],
                check=False,
                capture_output=True,
                input=asked.encode() if stock else bytes_on_the_way + asked.encode(),
            )
            if ran.returncode:
                break
        named, received = folder / digest, Path(f"{folder}.received")
        assert named.exists() == received.exists() == (ran.returncode == 0)
        assert not received.exists() or received.read_text() == asked
        assert [path.name for path in folder.iterdir()] == [digest] or ran.returncode
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.glob("*[!z]"))
        return named.read_bytes() if named.exists() else ran.stderr.decode()

    assert arrived(sent) == content
    assert arrived(sent, [f".{digest}.part"]) == content
    assert "arrived damaged" in arrived(sent[:-20])
    assert "arrived damaged" in arrived(sent[:-20] + bytes(21))
    assert "arrived damaged" in arrived(b"")


def test_an_upload_without_a_place_says_so_and_not_that_it_was_damaged():
    commands, _, _ = run(
        releases.activate,
        {StackState: {"installed": True}},
        {"takes_files": True},
        stack="crm",
        release=RELEASE,
        artifact=b"bytes",
    )
    text = str(commands[0]).replace("/var/lib/stackpin/crm", "/dev/null")
    ran = subprocess.run(["sh", "-c", text], check=False, capture_output=True, input=b"bytes{}")
    assert ran.returncode != 0
    assert b"Not a directory" in ran.stderr
    assert b"damaged" not in ran.stderr


def test_what_is_sent_to_many_hosts_is_packed_once():
    assert packed(PROGRAM, "a" * 64) is packed(PROGRAM, "a" * 64)
    assert packed(ARCHIVE, "b" * 64) is None


def test_activate_leaves_the_switch_to_an_operator_who_drives_it():
    commands, _, _ = activate({"installed": False}, {"stackpin_driver": "operator"})
    assert called(commands) == ["receive"]


def test_activate_starts_a_live_slot_that_is_down():
    state = RUNNING | {"slots": {"blue": {"active": "inactive"}}}
    commands, changes, _ = activate(state)
    assert called(commands) == ["service"]
    assert changes[0].kind == "service"


def test_activate_does_not_take_an_unconfirmed_release_for_settled():
    assert called(activate(RUNNING | {"pending": {"token": "x"}})[0]) == ["receive", "rollout"]


@pytest.mark.parametrize("stage", ["begun", "started", "switched", "confirmed"])
def test_activate_finishes_what_a_dead_run_left(stage):
    state = RUNNING | {"run": {"run": "r1", "stage": stage}}
    commands, changes, _ = activate(state)
    assert called(commands) == ["recover"]
    assert changes == [notes.Change("service", "crm run", f"left at {stage}", "finished")]
    assert activate(state, {"stackpin_driver": "operator"})[0] == []
    down = state | {"slots": {"blue": {"active": "failed"}}}
    assert called(activate(down)[0]) == ["recover", "service"]


def test_activate_repairs_a_live_release_that_was_altered_on_the_host():
    commands, changes, _ = activate(RUNNING | {"live_modified": True})
    assert called(commands)[-1:] == ["receive"]
    assert changes[0].before == "altered on the host"
    assert any(isinstance(one, FileUploadCommand) for one in commands)


@pytest.mark.parametrize("stage", ["retired", "reverted", "failed", "broken"])
def test_activate_leaves_a_run_that_ended_alone(stage):
    assert activate(RUNNING | {"run": {"run": "r1", "stage": stage}})[0] == []


# nginx


def test_nginx_site_and_the_packaged_default():
    file = File("/etc/nginx/sites-available/x.conf", "server {}\n")
    link = Link("/etc/nginx/sites-enabled/x.conf", file.path)
    arguments = {"stack": "portal", "files": [file], "links": [link], "ports": [80, 443]}
    there = {file.path: node_of(file), link.path: node_of(link)}
    assert run(nginx.site, {Tree: there}, **arguments)[0] == []
    assert run(nginx.site, {Tree: there, PackagedDefaultSite: [8080]}, **arguments)[0] == []
    commands, changes, _ = run(nginx.site, {Tree: there, PackagedDefaultSite: [80]}, **arguments)
    assert stdin(commands[0])["disable"] == ["/etc/nginx/sites-enabled/default"]
    assert "untouched" in changes[0].before
    pending = {Tree: there, StackState: {"installed": True, "nginx_reload_pending": True}}
    commands, changes, _ = run(nginx.site, pending, **arguments)
    assert stdin(commands[0])["files"] == {file.path: "server {}\n"}
    assert changes == [notes.Change("service", "nginx", "a reload is due", "reloaded")]
    commands, changes, _ = run(nginx.site, {}, **arguments)
    assert stdin(commands[0])["files"] == {file.path: "server {}\n"}
    assert len(changes) == 2
