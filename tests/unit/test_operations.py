"""Operations read facts and yield commands: here against facts given by hand."""

import fcntl
import os
import subprocess
from dataclasses import replace

import pytest
from fake_host import TOKEN, node_of, on_host, run, stdin

from facts.accounts import Account, AccountInfo
from facts.files import Node, Texts, Tree
from facts.git import WorkTree, WorkTreeInfo
from facts.packages import Installed, Packages
from facts.stacks import StackState
from facts.units import Unit, Units
from operations import (
    accounts,
    files,
    notes,
    packages,
    program,
    refusals,
    repository,
    units,
)
from operations.entries import Directory, File, Link
from stackpin.errors import Refused

# files.tree

ENTRIES = [
    Directory("/etc/app", "0711"),
    File("/etc/app/app.conf", "new = 1\n"),
    File("/etc/app/key", TOKEN, "0600", secret=True),
    Link("/etc/app/now", "releases/1"),
]


GOOD = {entry.path: node_of(entry) for entry in ENTRIES}


def test_tree_does_nothing_when_all_is_so():
    commands, changes, noops = run(files.tree, {Tree: GOOD}, stack="app", entries=ENTRIES)
    assert (commands, changes) == ([], [])
    assert noops == ["4 paths of app are as declared"]


def test_tree_writes_everything_on_a_bare_host_in_one_command():
    commands, changes, _ = run(files.tree, {}, stack="app", entries=ENTRIES, absent=["/etc/old"])
    assert len(commands) == 1
    sent = stdin(commands[0])
    assert [d["path"] for d in sent["directories"]] == ["/etc/app"]
    assert [f["mode"] for f in sent["files"]] == ["0644", "0600"]
    assert sent["links"] == [{"path": "/etc/app/now", "target": "releases/1"}]
    assert sent["absent"] == []
    assert [(c.kind, c.before) for c in changes] == [
        ("directory", None),
        ("file", None),
        ("file", None),
        ("link", None),
    ]


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ("/etc/app", {"mode": "755"}),
        ("/etc/app/app.conf", {"user": "crm"}),
        ("/etc/app/app.conf", {"sha256": "0" * 64}),
        ("/etc/app/key", {"mode": "644"}),
        ("/etc/app/now", {"target": "releases/0"}),
        ("/etc/app/now", {"kind": "file"}),
    ],
)
def test_tree_sends_only_what_is_wrong(path, wrong):
    present = GOOD | {path: Node(**({**GOOD[path].__dict__} | wrong))}
    commands, changes, _ = run(files.tree, {Tree: present}, stack="app", entries=ENTRIES)
    sent = stdin(commands[0])
    paths = [e["path"] for k in ("directories", "files", "links") for e in sent[k]]
    assert paths == [path] == [change.subject for change in changes]


def test_tree_shows_what_changes_in_a_text():
    present = GOOD | {"/etc/app/app.conf": Node("file", "644", "root", "root", 1, None, "0" * 64)}
    facts = {Tree: present, Texts: {"/etc/app/app.conf": "old = 1\n"}}
    _, changes, _ = run(files.tree, facts, stack="app", entries=ENTRIES)
    assert changes[0].diff[-2:] == ["-old = 1", "+new = 1"]


def test_a_secret_is_in_no_command_line_note_or_name():
    asked = []

    def texts(paths):
        asked.extend(paths)
        return {}

    present = GOOD | {"/etc/app/key": Node("file", "600", "root", "root", 1, None, "0" * 64)}
    facts = {Tree: present, Texts: texts}
    commands, changes, _ = run(files.tree, facts, stack="app", entries=ENTRIES)
    assert "content changes" in changes[0].after
    assert (changes[0].secret, changes[0].diff, asked) == (True, [], [])
    everything = repr((commands, changes, ENTRIES, str(commands[0]), commands[0].get_raw_value()))
    assert TOKEN not in everything
    assert "admin" not in everything


def test_tree_removes_what_must_be_absent():
    present = GOOD | {"/etc/old": Node("file", "644", "root", "root", 1)}
    commands, changes, _ = run(
        files.tree, {Tree: present}, stack="app", entries=ENTRIES, absent=["/etc/old"]
    )
    assert stdin(commands[0])["absent"] == ["/etc/old"]
    assert changes == [notes.Change("file", "/etc/old", "0644 root:root", None)]


def test_the_later_note_about_a_thing_replaces_the_earlier():
    with on_host({}):
        notes.note(notes.Change("unit", "a", None, "enabled"))
        notes.note(notes.Change("unit", "b", None, "enabled"))
        notes.note(notes.Change("unit", "a", "disabled", "enabled"))
        assert [(c.subject, c.before) for c in notes.collect()["relay1", "op1"]] == [
            ("a", "disabled"),
            ("b", None),
        ]


def test_a_lease_token_goes_along():
    with on_host({}, stackpin_lock_token="t1"):
        assert stdin(program.call("write", "crm", {"a": 1})) == {"a": 1, "lock_token": "t1"}
    with on_host({}) as host:
        host.connector_data["stackpin_lock_tokens"] = {"crm": "t2"}
        assert stdin(program.call("write", "crm", {})) == {"lock_token": "t2"}
        assert stdin(program.call("write", "portal", {})) == {}


# packages, accounts, units, program


def install(manager, versions, *names):
    """The last words of the command, what is noted, and the command."""
    facts = {Packages: Installed(manager, versions)}
    commands, changes, _ = run(packages.installed, facts, names=names)
    told = [str(command) for command in commands]
    words = told[0].split(" --allow-downgrades ")[-1].split("install ")[-1] if told else None
    return words, [(c.subject, c.before, c.after) for c in changes], "".join(told)


def test_packages_install_only_what_is_missing():
    words, changes, command = install("apt", {"git": "1"}, "git", "restic")
    assert words == "restic"
    assert changes == [("restic", None, "installed")]
    assert command.index("package lock: held by") < command.index("apt-get")
    assert install("apt", {"git": "1"}, "git")[2] == ""


@pytest.mark.parametrize(
    ("manager", "spec", "version", "words"),
    [
        ("apt", "restic=0.18.0-1", "0.18.0-1", None),
        ("apt", "restic=0.18.0", "0.18.0-1", "restic=0.18.0"),  # apt takes whole versions only
        ("apt", "restic=0.18*", "0.18.0-1+b4", None),
        ("apt", "restic=0.18*", "0.14.0-1", "'restic=0.18*'"),
        ("apt", "docker.io=26*", None, "'docker.io=26*'"),
        ("dnf", "restic=0.18.0", "0.18.0-2.fc42", None),
        ("dnf", "restic=0.18.0-2.fc42", "0.18.0-2.fc42", None),
        ("dnf", "restic=0.18*", "0.17.3-1.fc42", "'restic-0.18*'"),
        ("dnf", "git=1:2.49.0-1.fc42", "1:2.49.0-1.fc42", None),
        ("dnf", "git=2.49*", "1:2.49.0-1.fc42", None),
        ("dnf", "git=2.48.0", "1:2.49.0-1.fc42", "git-2.48.0"),
    ],
)
def test_a_pinned_package_in_another_version_is_a_change(manager, spec, version, words):
    name, _, pin = spec.partition("=")
    found, changes, _ = install(manager, {name: version} if version else {}, name, spec, name)
    assert found == words
    assert changes == ([] if words is None else [(name, version, pin)])


def test_packages_of_dnf_by_their_names_there():
    words, changes, command = install(
        "dnf", {"iproute": "6.14-1.fc42"}, "iproute2", "sqlite3", "docker.io=28*", "git"
    )
    assert words == "'moby-engine-28*' git sqlite"
    assert [subject for subject, *_ in changes] == ["docker.io", "git", "sqlite3"]
    assert "apt" not in command and "install_weak_deps=False" in command


def test_packages_on_a_host_without_a_manager():
    assert "neither apt nor dnf" in install(None, {}, "git")[2]


def test_waiting_for_the_package_lock_names_its_holder(tmp_path):
    (tmp_path / "dpkg").mkdir()
    script = packages._WAIT.replace("^/var/lib/", f"^{tmp_path}/")
    script = script.replace("-ge 300", "-ge 0").replace("sleep 2", "sleep 0.1")

    def wait():
        return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)

    assert wait().returncode == 0
    with (tmp_path / "dpkg/lock").open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        done = wait()
    assert done.returncode == 1
    assert f"(pid {os.getpid()})" in done.stderr
    assert wait().returncode == 0


def test_accounts():
    good = AccountInfo("crm", 990, "crm", "/nonexistent", "/usr/sbin/nologin")
    assert run(accounts.service_account, {Account: good}, user="crm")[0] == []
    commands, changes, _ = run(accounts.service_account, {}, user="crm")
    assert str(commands[0]).startswith("useradd --system")
    assert changes[0].before is None
    also = replace(good, groups=("crm", "docker", "adm"))
    commands, changes, _ = run(accounts.service_account, {Account: also}, user="crm")
    assert list(map(str, commands)) == ["usermod --groups '' crm"]
    assert changes[0].before == "also in adm, docker"
    alone = replace(good, groups=("crm",))
    assert run(accounts.service_account, {Account: alone}, user="crm")[0] == []


@pytest.mark.parametrize(
    ("found", "accepted"),
    [
        (None, True),
        (AccountInfo("crm", 990, "crm", "/nonexistent", "/usr/sbin/nologin"), True),
        (AccountInfo("crm", 990, "crm", "/nonexistent", "/bin/false"), True),
        (AccountInfo("www-data", 33, "www-data", "/var/www", "/usr/sbin/nologin"), False),
        (AccountInfo("git", 110, "git", "/srv/git", "/usr/bin/git-shell"), False),
        (AccountInfo("crm", 990, "daemon", "/nonexistent", "/usr/sbin/nologin"), False),
        (AccountInfo("crm", 990, "crm", "/nonexistent", "/bin/bash"), False),
        (AccountInfo("crm", 1001, "crm", "/nonexistent", "/usr/sbin/nologin"), False),
        (AccountInfo("root", 0, "root", "/nonexistent", "/usr/sbin/nologin"), False),
    ],
)
def test_an_account_of_something_else_is_never_taken_over(found, accepted):
    name = found.name if found else "crm"
    with on_host({Account: found}):
        if accepted:
            refusals.require_service_account("crm_user", name)
            return
        with pytest.raises(Refused, match="crm_user") as error:
            refusals.require_service_account("crm_user", name)
    assert found.home in str(error.value)
    assert found.shell in str(error.value)
    with pytest.raises(Refused, match="Choose another name"):
        run(accounts.service_account, {Account: found}, user=name)


def test_units():
    on = Unit("loaded", "active", "enabled", stale=False, main_pid=7)
    assert run(units.enabled, {Units: {"n": on}}, units=["n"], running=True)[0] == []
    commands, _, _ = run(units.enabled, {}, units=["n"], running=True)
    assert [str(c) for c in commands] == ["systemctl enable n", "systemctl start n"]
    stale = Unit("loaded", "active", "enabled", stale=True, main_pid=7)
    commands, _, _ = run(units.enabled, {Units: {"n": stale}}, units=["n"], running=True)
    assert [str(c) for c in commands] == ["systemctl daemon-reload"]
    off = Unit("loaded", "inactive", "disabled", stale=True, main_pid=0)
    held = {Units: {"a": off, "b": on, "c": stale}}
    commands, changes, _ = run(units.enabled, held, units=["a", "b", "c", "d"], running=True)
    assert [str(c) for c in commands] == [
        "systemctl daemon-reload",
        "systemctl enable a d",
        "systemctl start a d",
    ]
    assert {change.subject for change in changes} == {"a", "c", "d"}


def test_program_is_sent_once():
    sha = "a" * 64
    commands, changes, _ = run(program.installed, {}, body=b"\x00zip", sha256=sha)
    assert commands[0].connector_arguments["_stdin"] == "AHppcA==\n"
    assert changes[0].after == sha[:12]
    there = {program.PROGRAM: Node("file", "755", "root", "root", 4, None, sha)}
    assert run(program.installed, {Tree: there}, body=b"\x00zip", sha256=sha)[0] == []


# repository and refusals

TREE = WorkTreeInfo("directory", "crm", "crm", "/srv/r", True, True, "/srv/r", None)


@pytest.mark.parametrize(
    ("info", "create", "why"),
    [
        (TREE, False, None),
        (WorkTreeInfo("absent"), True, None),
        (WorkTreeInfo("absent"), False, "nothing there"),
        (WorkTreeInfo("other"), True, "not a directory"),
        (WorkTreeInfo("directory", real="/srv/r", git=True), True, "not a Git work tree"),
        (
            WorkTreeInfo("directory", real="/srv/r", git=True, top="/srv"),
            True,
            "inside the Git work tree /srv",
        ),
        # Git is not installed yet: the marker decides
        (WorkTreeInfo("directory", real="/srv/r", marker=True), False, None),
        (WorkTreeInfo("directory", real="/srv/r"), True, "not a Git work tree"),
        (replace(TREE, closed="/home/ann"), True, "/home/ann"),
        (WorkTreeInfo("absent", closed="/home/ann"), True, "cannot pass through"),
    ],
)
def test_what_can_be_the_publish_repository(info, create, why):
    found = repository.problem(info, create)
    assert found is None if why is None else why in str(found)


def test_refusals_say_what_to_do_and_are_both_kinds_of_error():
    with on_host({}), pytest.raises(refusals.DeployRefused, match="crm_repo_create") as error:
        refusals.require_repository("crm_repo_root", "/srv/r", "crm", create=False)
    assert isinstance(error.value, Refused)
    person = AccountInfo("ubuntu", 1000, "ubuntu", "/home/ubuntu", "/bin/bash")
    with on_host({Account: person}), pytest.raises(Refused, match="user id 1000"):
        refusals.require_service_account("crm_user", "ubuntu")
    caught = pytest.raises(refusals.DeployRefused, match="relay1: no")
    with on_host({}), caught, refusals.refusing():
        raise Refused("no")


def test_a_deploy_by_someone_else_is_not_disturbed():
    held = {"installed": True, "lock": {"owner": "ann@desk", "reason": "update", "token": "t"}}
    with on_host({StackState: held}), pytest.raises(Refused, match="ann@desk"):
        refusals.require_no_other_deploy("crm")
    with on_host({StackState: held}, stackpin_driver="operator"):
        refusals.require_no_other_deploy("crm")
    with on_host({StackState: held}, stackpin_lock_token="t"):
        refusals.require_no_other_deploy("crm")


def test_repository_is_made_once_and_keeps_its_owner():
    arguments = {"path": "/srv/r", "user": "crm"}
    assert run(repository.work_tree, {WorkTree: TREE}, **arguments)[0] == []
    commands, _, _ = run(repository.work_tree, {}, **arguments)
    assert "init -q" in str(commands[0])
    foreign = WorkTreeInfo("directory", "root", "root", "/srv/r", True, True, "/srv/r", "/srv/r")
    commands, changes, _ = run(repository.work_tree, {WorkTree: foreign}, **arguments)
    assert str(commands[0]) == "chown -hR crm:crm /srv/r"
    assert changes[0].before == "owned by root"
