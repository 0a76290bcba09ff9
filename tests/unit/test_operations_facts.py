"""Facts ask with shell commands: here run for real, on things made for the purpose."""

import os
import shutil
import stat
import subprocess
from pathlib import Path
from unittest.mock import ANY

import pytest
from pyinfra.context import ctx_host

from facts.accounts import Account
from facts.files import Texts, Tree
from facts.git import WorkTree
from facts.nginx import PackagedDefaultSite
from facts.packages import Installed, Packages
from facts.stacks import StackState
from facts.tls import Certificate
from facts.units import Units
from operations import certificates
from operations.certificates import pair_problem


def ask(fact, **arguments):
    """What pyinfra would make of the fact's command, with sh as on a host."""
    command = fact().command(**arguments)
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    # A fact that fails would fail the host, also where a thing is merely absent.
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    return fact().process(lines) if lines else fact.default()


def test_tree(tmp_path):
    folder = tmp_path / "it's a folder"
    folder.mkdir(mode=0o750)
    file = folder / "x.conf"
    file.write_text("hello\n")
    file.chmod(0o4640)
    link = folder / "now"
    link.symlink_to("x.conf")
    nodes = ask(Tree, paths=[str(folder), str(file), str(link), str(tmp_path / "absent")])
    assert [(n.kind, n.mode, n.target) for n in nodes.values()] == [
        ("directory", "750", None),
        ("file", "4640", None),
        ("link", "777", "x.conf"),
    ]
    assert nodes[str(file)].sha256 == (
        "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    )
    assert nodes[str(link)].sha256 is None
    assert ask(Tree, paths=[str(tmp_path / "absent")]) == {}
    assert ask(Tree, paths=[]) == {}


def test_texts(tmp_path):
    (tmp_path / "a").write_text("one\n\ttwo\nüml\n")
    (tmp_path / "b").write_text("")
    texts = ask(Texts, paths=[str(tmp_path / n) for n in "abc"])
    assert texts == {str(tmp_path / "a"): "one\n\ttwo\nüml\n", str(tmp_path / "b"): ""}


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="not a Debian machine")
def test_packages():
    names = ["base-files", "no-such-package-at-all"]
    found = ask(Packages, apt=names, dnf=[])
    assert (found.manager, list(found.versions)) == ("apt", ["base-files"])
    assert found.versions["base-files"][0].isdecimal()
    assert ask(Packages, apt=names[1:], dnf=[]) == Installed("apt", {})


def test_packages_of_rpm(tmp_path, monkeypatch):
    """A host of dnf: nobody's dpkg record, and an rpm that answers as Fedora's does."""
    for name, text in {
        "dnf": "",
        "rpm": 'test "$1 $2" = "-q --qf" && printf "%s\\n" "package a is not installed"'
        ' && printf "ii \\tgit\\t2.49.0-1.fc42\\n"; exit 1',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    fact = Packages()
    text = fact.command(apt=["a", "git"], dnf=["a", "git"]).replace("/var/lib/dpkg", str(tmp_path))
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True)
    assert fact.process(done.stdout.splitlines()) == Installed("dnf", {"git": "2.49.0-1.fc42"})
    assert fact.process([]) == Installed()


def test_accounts():
    root = ask(Account, user="root")
    assert root is not None
    assert (root.uid, root.group, root.home) == (0, "root", "/root")
    assert "root" in root.groups
    assert ask(Account, user="no-such-user") is None


def test_work_tree(tmp_path):
    me = subprocess.check_output(["id", "-un"], text=True).strip()
    top, inside, plain = tmp_path / "top", tmp_path / "top/inside", tmp_path / "plain"
    inside.mkdir(parents=True)
    plain.mkdir()
    subprocess.run(["git", "init", "-q", str(top)], check=True)
    good = ask(WorkTree, path=str(top), user=me)
    assert good.is_work_tree
    assert (good.owner, good.foreign) == (me, None)
    assert not ask(WorkTree, path=str(inside), user=me).is_work_tree
    assert ask(WorkTree, path=str(inside), user=me).top == str(top)
    assert not ask(WorkTree, path=str(plain), user=me).is_work_tree
    assert ask(WorkTree, path=str(tmp_path / "absent"), user=me).kind == "absent"
    (tmp_path / "file").write_text("")
    assert ask(WorkTree, path=str(tmp_path / "file"), user=me).kind == "other"
    plain.chmod(0o750)
    assert ask(WorkTree, path=str(plain / "a/b"), user=me).closed is not None
    link = tmp_path / "link"
    link.symlink_to(top)
    assert ask(WorkTree, path=str(link), user=me).is_work_tree


@pytest.mark.skipif(os.geteuid() != 0, reason="changes owners")
def test_work_tree_of_two_owners(tmp_path):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "x").write_text("")
    shutil.chown(tmp_path / "x", "nobody")
    assert ask(WorkTree, path=str(tmp_path), user="root").foreign == str(tmp_path / "x")


def test_units_are_parsed_by_block():
    lines = (
        "Id=nginx.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n"
        "NeedDaemonReload=no\nMainPID=42\n\n"
        "Id=x@blue.service\nLoadState=not-found\nActiveState=inactive\nUnitFileState=\n"
        "NeedDaemonReload=yes\nMainPID=0"
    ).splitlines()
    units = Units().process(lines)
    assert (units["nginx.service"].active, units["nginx.service"].main_pid) == ("active", 42)
    assert units["x@blue.service"].load == "not-found"
    assert units["x@blue.service"].stale
    ask(Units, names=["x.service"])  # also where there is no systemd


def test_stack_state_on_a_host_without_the_program_and_with_a_broken_one():
    assert StackState().process(["Traceback (most recent call last):"])["installed"] is False
    assert StackState().process(['{"ok": false, "error": {}}'])["installed"] is False
    assert StackState().process(['{"ok": true, "installed": true}'])["installed"] is True
    assert ask(PackagedDefaultSite) in ([], [80])


class Bare:
    """A host about which no fact is known."""

    name, current_op_hash = "relay1", "op1"

    def get_fact(self, fact, **_):
        return fact.default()


class Here(Bare):
    """A host that is this machine."""

    def get_fact(self, fact, **arguments):
        return ask(fact, **arguments)

    def noop(self, text):
        pass


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_a_self_signed_certificate_is_made_as_asked(tmp_path):
    certificate, key = str(tmp_path / "c.crt"), str(tmp_path / "c.key")
    names = ["portal.example.net", "192.0.2.10", "2001:db8::1"]
    assert ask(Certificate, certificate=certificate, key=key) is None
    with ctx_host.use(Bare()):
        (command,) = certificates.self_signed._inner(certificate, key, names)
    subprocess.run(["/bin/sh", "-c", command.get_raw_value()], check=True)
    found = ask(Certificate, certificate=certificate, key=key)
    assert found.names == ("192.0.2.10", "2001:db8::1", "portal.example.net")
    assert found.lasts_a_month
    assert found.matches_key
    assert stat.S_IMODE((tmp_path / "c.key").stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.crt", "c.key"]
    text = subprocess.check_output(["openssl", "x509", "-in", certificate, "-noout", "-text"])
    assert b"prime256v1" in text
    assert pair_problem((tmp_path / "c.crt").read_text(), (tmp_path / "c.key").read_text()) is None


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_nginx_hears_of_a_new_certificate_also_after_a_kill(tmp_path):
    certificate, key = str(tmp_path / "c.crt"), str(tmp_path / "c.key")
    programs, log = tmp_path / "bin", tmp_path / "log"
    programs.mkdir()
    for name in ("systemctl", "nginx"):
        text = f'#!/bin/sh\necho "{name} $*" >> {log}\n[ ! -e {tmp_path}/no-{name} ]\n'
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)

    def go(stop_before=None):
        with ctx_host.use(Here()):
            commands = list(certificates.self_signed._inner(certificate, key, ["x.example.net"]))
        log.write_text("")
        for command in commands:
            text = command.get_raw_value()
            if stop_before:
                text = text[: text.index(stop_before)] + "kill -9 $$"
            environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
            subprocess.run(["/bin/sh", "-c", text], check=not stop_before, env=environment)
        return commands, "systemctl reload nginx" in log.read_text()

    assert go(stop_before="if systemctl") == (ANY, False)  # killed before the reload
    commands, reloaded = go()
    assert "openssl" not in commands[0].get_raw_value()
    assert reloaded
    assert go() == ([], False)
    Path(certificate).unlink()
    (tmp_path / "no-nginx").touch()  # nginx -t finds the site broken: not now, then
    assert go() == (ANY, False)
    (tmp_path / "no-nginx").unlink()
    assert go() == (ANY, True)
    assert go() == ([], False)


def test_a_key_of_another_certificate_is_told(tmp_path):
    for name in ("a", "b"):
        with ctx_host.use(Bare()):
            made = certificates.self_signed._inner(
                str(tmp_path / f"{name}.crt"), str(tmp_path / f"{name}.key"), ["x.example.net"]
            )
            (command,) = made
        subprocess.run(["/bin/sh", "-c", command.get_raw_value()], check=True)
    certificate, key = (tmp_path / "a.crt").read_text(), (tmp_path / "b.key").read_text()
    assert "does not belong" in str(pair_problem(certificate, key))
    assert "cannot be read" in str(pair_problem("nonsense", key))
    assert "not a private key" in str(pair_problem(certificate, "nonsense"))
