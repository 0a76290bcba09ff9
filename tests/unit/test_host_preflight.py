"""What preflight measures, below a test root: each question with a good and a bad answer."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stackpin.host import (
    preflight,
    preflight_docker,
    preflight_paths,
    preflight_ports,
    preflight_programs,
    preflight_resources,
    preflight_stack,
    preflight_upkeep,
    processes,
)
from stackpin.host.drivers.docker import Container
from stackpin.host.errors import failed
from stackpin.host.preflight_item import Item
from stackpin.host.stack import Stack
from stackpin.host.system import Result
from tests.unit.host_core_fakes import Host

CRM = Stack.from_json("crm", {})


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STACKPIN_ROOT", str(tmp_path))
    return tmp_path


def named(items: Any) -> dict[str, Item]:
    return {item.name: item for item in items}


def tree(folder: Path) -> list[tuple[str, float]]:
    return sorted((str(path), path.lstat().st_mtime_ns) for path in folder.rglob("*"))


# as a whole


def test_the_host_itself_is_asked_about_once_and_nothing_is_made(root: Path) -> None:
    (root / "etc").mkdir()
    before = tree(root)
    both = preflight.preflight(CRM, {"needs": {"ports": [1], "docker": True}})
    assert {item["scope"] for item in both["items"]} == {"host", "part"}
    again = preflight.preflight(CRM, {"needs": {"ports": [1], "docker": True}, "system": False})
    assert [item["name"] for item in again["items"]] == ["deployment", "port 1"]
    assert tree(root) == before


@pytest.mark.parametrize(
    ("installed", "asked"), [(True, {"disk /", "disk /proc"}), (False, {"disk /"})]
)
def test_a_directory_that_became_a_disk_of_its_own_is_asked_about(
    installed: bool, asked: set[str]
) -> None:
    places = {"opt": "/proc", "data": "/proc/sys"}
    stack = Stack.from_json("crm", places, installed=installed)
    found = named(preflight_resources.look(stack, {"paths": ["/"], "disk_mb": 1}))
    assert {name for name in found if name.startswith("disk ")} == asked
    assert not installed or not found["disk /proc"].ok, "there is no room in it"


# programs


@pytest.mark.parametrize(
    ("release", "minimum", "ok"),
    [
        ("6.1.0-18-amd64", "4.18", True),
        ("5.9.0", "5.10", False),
        ("5.10", "5.10", True),
        ("4.18.0-553.el8", "5", False),
        ("odd", "4.18", False),
    ],
)
def test_kernels_are_compared_by_number(
    release: str, minimum: str, ok: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight_programs.platform, "release", lambda: release)
    item = preflight_programs._kernel(minimum)
    assert (item.ok, item.measured, item.expected) == (ok, release, f">= {minimum}")


@pytest.mark.parametrize(
    ("name", "told", "ok", "measured", "severity"),
    [
        ("docker", Result(0, "Docker version 26.1.5+dfsg1, build a72d7cd", ""), True, "26.1.5", ""),
        ("docker", Result(0, "Docker version 19.03.15, build 99e3ed8", ""), False, "19.03.15", ""),
        ("nginx", Result(0, "", "nginx version: nginx/1.26.3"), True, "1.26.3", ""),
        ("restic", Result(0, "restic 0.9.6 compiled with go1.15", ""), False, "0.9.6", ""),
        ("compose", Result(1, "", "docker: 'compose' is not a command"), False, "absent", "warn"),
        ("compose", None, False, "absent", "warn"),
    ],
)
def test_an_old_program_stops_and_an_absent_one_is_installed(
    name: str,
    told: Result | None,
    ok: bool,
    measured: str,
    severity: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    minimum = {"docker": "20.10", "compose": "2.17", "restic": "0.14", "nginx": "1.18"}[name]
    monkeypatch.setattr(preflight_programs.shutil, "which", lambda *_, **__: told and "/bin/x")
    monkeypatch.setattr(preflight_programs.system, "run", lambda *_, **__: told)
    item = preflight_programs._version(name, minimum)
    assert (item.ok, item.measured, item.severity) == (ok, measured, severity or "fail")
    assert item.remedy


# resources


def look(**needs: Any) -> dict[str, Item]:
    return named(preflight_resources.look(CRM, needs))


def test_less_than_needed_stops_and_less_than_recommended_warns(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight_resources, "free", lambda _path: (700, 999))
    monkeypatch.setattr(preflight_resources, "available_mb", lambda: 300)
    monkeypatch.setattr(preflight_resources.os, "sched_getaffinity", lambda _pid: {0, 1})
    better = {"cpus": 4, "memory_mb": 10**9, "disk_mb": 800}
    assert not look(memory_total_mb=10**9)["total memory"].ok
    found = look(cpus=3, memory_mb=301, disk_mb=701, paths=["/"], recommended=better)
    assert all(not item.ok for item in found.values())
    assert {name: item.severity for name, item in found.items()} == {
        "cpus": "fail", "recommended cpus": "warn", "memory": "fail", "recommended memory": "warn",
        "disk /": "fail", "recommended disk /": "warn", "inodes /": "fail",
    }  # fmt: skip
    assert (found["disk /"].measured, found["disk /"].expected) == ("700 MiB free", "701 MiB free")
    assert (found["inodes /"].measured, found["cpus"].expected) == ("999 free", "3 CPU")
    assert all(item.ok for item in look(cpus=2, memory_mb=300, disk_mb=600).values() if item.name
               != "inodes /")  # fmt: skip


def test_file_systems_without_inodes_are_not_asked_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preflight_resources, "free", lambda _path: (700, None))
    assert "inodes /" not in look()


@pytest.mark.parametrize(
    ("files", "ok", "measured"),
    [
        ({"cgroup.controllers": "cpuset cpu io memory pids\n"}, True, "v2: cpu memory pids"),
        ({"cgroup.controllers": "\n"}, False, "v2: none of them"),
        ({"cpu,cpuacct": "", "memory": "", "pids": ""}, True, "v1: cpu memory pids"),
        ({"cpu,cpuacct": "", "pids": ""}, False, "v1: cpu pids"),
    ],
)
def test_controllers_that_docker_limits_with(
    files: dict[str, str],
    ok: bool,
    measured: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(preflight_resources, "CGROUP", tmp_path)
    item = look(docker=True)["cgroup"]
    assert (item.ok, item.measured, item.severity) == (ok, measured, "warn")


def test_a_read_only_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert preflight_paths.writable(tmp_path / "new")[0]
    flags = SimpleNamespace(f_flag=os.ST_RDONLY)
    monkeypatch.setattr(preflight_paths.os, "statvfs", lambda _path: flags)
    assert preflight_paths.writable(tmp_path / "new")[:2] == (False, "read-only")


# upkeep


def test_a_restart_that_is_due(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight_upkeep.shutil, "which", lambda *_, **__: None)
    assert preflight_upkeep._restart().ok
    (root / "run").mkdir()
    (root / "run/reboot-required").touch()
    assert preflight_upkeep._restart().measured == "pending for updates"
    (root / "run/reboot-required.pkgs").write_text("linux-image\nlibc6\nlibc6\n")
    item = preflight_upkeep._restart()
    assert (item.ok, item.severity) == (False, "warn")
    assert item.measured == "pending for linux-image, libc6"


@pytest.mark.parametrize(("code", "ok"), [(0, True), (1, False)])
def test_a_restart_that_is_due_on_fedora(
    code: int, ok: bool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight_upkeep.shutil, "which", lambda *_, **__: "/usr/bin/x")
    monkeypatch.setattr(preflight_upkeep.system, "run", lambda *_, **__: Result(code, "", ""))
    assert preflight_upkeep._restart().ok is ok


@pytest.mark.parametrize(
    ("text", "ok", "measured"),
    [("1\n", False, "enforcing"), ("0\n", True, "permissive"), (None, True, "absent")],
)
def test_selinux(text: str | None, ok: bool, measured: str, root: Path) -> None:
    if text is not None:
        (root / "sys/fs/selinux").mkdir(parents=True)
        (root / "sys/fs/selinux/enforce").write_text(text)
    item = preflight_upkeep._selinux()
    assert (item.ok, item.measured, item.severity) == (ok, measured, "warn")


DENIALS = """\
audit: apparmor="DENIED" operation="open" profile="/usr/sbin/cupsd" name="/etc/x" comm="cupsd"
audit: apparmor="DENIED" operation="open" profile="nginx" name="/opt/crm/slots/blue/server"
audit: apparmor="ALLOWED" operation="open" profile="nginx" name="/opt/crm/slots/blue/env"
avc:  denied  { execute } for pid=1 comm="(server)" path="/var/lib/crm/data/crm.db" tclass=file
avc:  denied  { read } for pid=1 comm="x" path="/opt/crmother/file" tclass=file
"""


def test_denials_of_our_own_services(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.install()
    monkeypatch.setattr(preflight_upkeep.system, "run", lambda *_, **__: Result(0, DENIALS, ""))
    item = preflight_upkeep._denials()
    assert item.measured.startswith("2, last: avc:")
    assert (item.ok, item.severity) == (False, "warn")
    monkeypatch.setattr(preflight_upkeep.system, "run", lambda *_, **__: Result(0, "", ""))
    assert preflight_upkeep._denials().ok


@pytest.mark.parametrize(
    ("told", "ok", "measured"),
    [
        ("yes\n", True, "synchronized"),
        ("no\n", False, "not synchronized"),
        ("", False, "not known"),
    ],
)
def test_time_sync(told: str, ok: bool, measured: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight_upkeep.system, "run", lambda *_, **__: Result(0, told, ""))
    item = preflight_upkeep._synchronized()
    assert (item.ok, item.measured, item.severity) == (ok, measured, "warn")


def test_who_installs_packages_now(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    assert preflight_upkeep._lock("dpkg lock", (str(lock),)).ok
    with lock.open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        item = preflight_upkeep._lock("dpkg lock", (str(lock),))
    assert f"(pid {os.getpid()})" in item.measured
    assert (item.ok, item.severity) == (False, "warn")


# ports


def holder(port: int, process: str, pid: int = 42) -> processes.Listener:
    return processes.Listener("tcp", "0.0.0.0", port, pid, process)  # noqa: S104 - not bound


def container(name: str, **labels: str) -> Container:
    return Container(
        name * 64, name, f"reg/{name}:1@sha256:0", "i", "running", 0, 0, 42, None, "now", None,
        "no", {f"stackpin.{key}": value for key, value in labels.items()},
    )  # fmt: skip


def port(
    monkeypatch: pytest.MonkeyPatch,
    item: processes.Listener,
    unit: str | None = None,
    held: Container | None = None,
    own: tuple[str, ...] = (),
) -> Item:
    monkeypatch.setattr(processes, "listeners", lambda: [item])
    monkeypatch.setattr(processes, "unit_of", lambda _pid: unit)
    monkeypatch.setattr(preflight_ports, "_container", lambda _item: held)
    (found,) = preflight_ports.look(CRM, {"ports": [8080], "own": own})
    return found


@pytest.mark.parametrize(
    ("unit", "own", "ok"),
    [
        ("crm@blue.service", (), True),
        ("crm@rehearsal.service", (), True),
        ("infracore-probe@green.service", ("infracore-probe", "infracore-gate"), True),
        ("infracore-probe@green.service", (), False),
        ("crm@stray.service", (), False),
        ("crm.service", (), False),
        ("squatter.service", (), False),
        (None, (), False),
    ],
)
def test_ports_of_our_own_services(
    unit: str | None, own: tuple[str, ...], ok: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = port(monkeypatch, holder(8080, "server"), unit, own=own)
    assert item.ok is ok
    if not ok:
        assert "server (pid 42" in item.measured
        assert unit is None or unit in item.measured
        assert item.severity == "fail" and "server" in item.remedy


def test_ports_of_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = container("gate", stack="crm")
    assert port(monkeypatch, holder(8080, "docker-proxy"), "docker.service", ours).ok
    theirs = container("web", stack="another")
    item = port(monkeypatch, holder(8080, "docker-proxy"), "docker.service", theirs)
    assert item.measured == ("held by docker-proxy (pid 42, container web of reg/web:1) on 0.0.0.0")
    assert not port(monkeypatch, holder(8080, "docker-proxy"), "docker.service", container("x")).ok


def test_the_container_behind_a_port_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def docker(*argv: str, **_: Any) -> Result:
        asked.extend(argv)
        return Result(0, "a" * 64 + "\n", "")

    monkeypatch.setattr(preflight_ports.docker, "docker", docker)
    monkeypatch.setattr(preflight_ports.docker, "by_id", lambda number: [container(number[0])])
    found = preflight_ports._container(holder(8080, "docker-proxy"))
    assert found is not None and found.name == "a"
    assert "--filter=publish=8080" in asked
    cgroup = tmp_path / "cgroup"
    monkeypatch.setattr(preflight_ports, "Path", lambda *_: cgroup)
    for text, name in (
        (f"0::/system.slice/docker-{'b' * 64}.scope\n", "b"),
        (f"4:pids:/docker/{'c' * 64}\n", "c"),
        ("0::/system.slice/sshd.service\n", None),
    ):
        cgroup.write_text(text)
        found = preflight_ports._container(holder(8080, "server"))
        assert (found.name if found else None) == name

    def down(*_: str, **__: Any) -> Result:
        raise failed("docker: the daemon does not answer")

    monkeypatch.setattr(preflight_ports.docker, "docker", down)
    assert preflight_ports._container(holder(8080, "docker-proxy")) is None


@pytest.mark.parametrize(
    ("text", "ok"),
    [
        ("server { listen 127.0.0.1:8080; if (-f /var/lib/stackpin/crm/live.green) {} }", False),
        (
            "server {\n listen 127.0.0.1:8080;\n if (-f /var/lib/stackpin/crm/live.green) {}\n}",
            True,
        ),
        ("server {\n listen 8080 ssl;\n if (-f /var/lib/stackpin/crm/live.green) {}\n}", True),
        ("server {\n listen 18080;\n if (-f /var/lib/stackpin/crm/live.green) {}\n}", False),
        ("server {\n listen 8080;\n}", False),
    ],
)
def test_ports_of_nginx_are_ours_where_our_site_listens(
    text: str, ok: bool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = root / "etc/nginx/sites-enabled"
    folder.mkdir(parents=True)
    (folder / "site").write_text(text)
    assert port(monkeypatch, holder(8080, "nginx"), "nginx.service").ok is ok


# what is deployed


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path, monkeypatch)
    monkeypatch.setattr("stackpin.host.drivers.systemd.units.run", made.run, raising=False)
    return made


def test_what_is_deployed(host: Host) -> None:
    def told() -> tuple[bool, str]:
        item = preflight_stack.deployment(Stack.load("crm"))
        assert item.severity == "warn"
        return item.ok, item.measured

    assert told() == (True, "none")
    host.install()
    assert told() == (True, "installed, nothing is live yet")
    host.receive("old")
    host.call("rollout", release="old")
    assert told() == (True, "old is live in blue, active")
    host.call("lock-acquire", owner="alice@desk", reason="x")
    assert told() == (True, "old is live in blue, active, locked by alice@desk for 0 s")
    host.active.clear()
    assert told() == (False, "old is live in blue, locked by alice@desk for 0 s, inactive")


def test_an_abandoned_run_is_told(host: Host) -> None:
    host.install()
    host.receive("old")
    host.call("rollout", release="old")
    host.receive("new")
    host.call("begin", run="second", release="new", mode="self")
    assert "run second to new is begun" in preflight_stack.deployment(Stack.load("crm")).measured
    host.program += 1
    item = preflight_stack.deployment(Stack.load("crm"))
    assert not item.ok
    assert item.measured.endswith("run second to new is begun, abandoned: its process died")
    assert "status" in item.remedy


# the clock of a test that hangs


def test_all_questions_end(root: Path) -> None:
    before = threading.active_count()
    began = time.monotonic()
    preflight.preflight(CRM, {})
    assert time.monotonic() - began < 60
    assert threading.active_count() == before


def test_every_item_is_on_its_page(root: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/reference/preflight.md").read_text()
    needs = {
        "ports": [1], "docker": True, "image_bytes": 1, "repo_root": "/r", "database": "/d",
        "web_user": "nobody", "commands": ["ss"], "versions": {"git": "1"}, "paths": ["/opt"],
        "recommended": {"cpus": 1, "memory_mb": 1, "disk_mb": 1}, "memory_total_mb": 1,
        "endpoints": [{"address": "http://127.0.0.1:1/"}], "registry": {"host": "127.0.0.1:1"},
        "postgres": {"host": "127.0.0.1", "port": 1},
    }  # fmt: skip
    names = [item["name"] for item in preflight.preflight(CRM, {"needs": needs})["items"]]
    assert len(names) > 25
    for name in names:
        shown = f"`{name}`" in page
        begins = any(f"`{name.split()[0]} {what}" in page for what in ("PATH", "NAME", "N", "HOST"))
        assert shown or begins or f"`{name.rsplit(' ', 1)[0]} PATH`" in page, name


@pytest.mark.parametrize(
    ("rows", "measured"),
    [
        ("app-web-blue-1\tinfracore-gate\n", "nobody else's"),
        ("app-web-blue-1\tinfracore-gate\nodd\t\n", "odd, not made by Stackpin"),
    ],
)
def test_strangers_in_the_compose_project(
    monkeypatch: pytest.MonkeyPatch, rows: str, measured: str
) -> None:
    monkeypatch.setattr(preflight_docker, "_daemon", lambda: Item("docker", True, "26", "one"))
    monkeypatch.setattr(preflight_docker, "docker", lambda *_words: Result(0, rows, ""))
    _, item = preflight_docker.engine(CRM, {"docker": True, "project": "app"})
    assert (item.name, item.measured) == ("compose project app", measured)
    assert item.ok == (measured == "nobody else's")
