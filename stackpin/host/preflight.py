"""Whether a host can take a stack, asked before anything is touched. Works on a bare host."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from stackpin.host import nginx, preflight_docker, processes, system
from stackpin.host.checks_local import available_mb, free
from stackpin.host.errors import HostError
from stackpin.host.preflight_paths import database, repository, traversable, writable
from stackpin.host.room import database_bytes
from stackpin.host.stack import SLOTS, Stack

__all__ = ["COMMANDS", "Item", "preflight"]

MAX_SKEW = 60.0  # seconds between this host's clock and the operator's
OLDEST_SYSTEMD = 247
PACKAGES = {"ss": "iproute2", "nginx": "nginx", "git": "git", "python3": "python3"}
SYSTEM_COMMANDS = {"systemctl", "systemd-run", "python3"}


class Item(NamedTuple):
    """One question: severity fail stops the deploy, warn does not."""

    name: str
    ok: bool
    measured: str
    expected: str
    remedy: str = ""
    severity: str = "fail"


def preflight(stack: Stack, payload: dict[str, Any]) -> dict[str, Any]:
    """Measure the host against `needs`.

    payload: {needs: {disk_mb, memory_mb, ports: [int], paths, repo_root, repo_create, database,
    web_user, artifact_bytes, commands, docker, container, image_bytes, registry, postgres,
    now}}; now is the operator's clock, unix seconds. Every key may be absent. Returns
    {passed, items: [{name, ok, severity, measured, expected, remedy}]};
    passed is False when an item of severity fail is not ok.
    """
    needs = payload.get("needs") or {}
    items = list(_items(stack, needs))
    return {
        "passed": all(item.ok or item.severity != "fail" for item in items),
        "items": [{**item._asdict(), "remedy": "" if item.ok else item.remedy} for item in items],
    }


def _items(stack: Stack, needs: Mapping[str, Any]) -> Iterator[Item]:
    yield _root()
    yield _python()
    yield _systemd()
    yield from _commands(needs.get("commands") or [])
    yield from _disk(stack, needs)
    yield _memory(int(needs.get("memory_mb") or 0))
    yield from _ports(stack, needs.get("ports") or [])
    for path in needs.get("paths") or []:
        yield Item(f"path {path}", *writable(stack.at(path)))
    if needs.get("repo_root"):
        create = bool(needs.get("repo_create"))
        yield Item("repo_root", *repository(stack.at(needs["repo_root"]), create=create))
    if needs.get("database"):
        yield Item("database", *database(stack.at(needs["database"])))
    if needs.get("web_user") and not stack.is_static:
        yield Item("web_user", *traversable(stack, str(needs["web_user"])))
    for answer in preflight_docker.look(stack, needs):
        yield Item(*answer)
    yield _clock(needs.get("now"))
    yield _dpkg()
    yield from _nginx()


def _root() -> Item:
    user = os.geteuid()
    return Item("root", user == 0, f"user id {user}", "root", "Connect as root or with sudo.")


def _python() -> Item:
    found = ".".join(map(str, sys.version_info[:3]))
    return Item("python", sys.version_info >= (3, 10), found, ">= 3.10", "Use Debian 12 or later.")


def _systemd() -> Item:
    expected = f"systemd >= {OLDEST_SYSTEMD} as PID 1"
    if not Path("/run/systemd/system").is_dir():
        return Item("systemd", False, "another PID 1", expected, "Use a host that runs systemd.")
    try:
        text = system.run(["systemctl", "--version"], timeout=10.0).out
    except HostError as problem:
        return Item("systemd", False, problem.message, expected, "Repair systemd.")
    version = re.search(r"systemd (\d+)", text)
    number = int(version.group(1)) if version else 0
    return Item("systemd", number >= OLDEST_SYSTEMD, str(number), expected, "Upgrade the host.")


def _commands(names: list[str]) -> Iterator[Item]:
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    for name in names:
        found = shutil.which(name, path=path)
        package = PACKAGES.get(name, name)
        yield Item(
            f"command {name}",
            found is not None,
            found or "absent",
            "installed",
            f"apt-get install {package}",
            # Packages can still be installed by the deploy; an init system cannot.
            "fail" if name in SYSTEM_COMMANDS else "warn",
        )


def _disk(stack: Stack, needs: Mapping[str, Any]) -> Iterator[Item]:
    # An artifact is on disk twice while it becomes a release; of the database a backup and a
    # rehearsal each make a copy, beside the state and beside the data.
    always = int(needs.get("disk_mb") or 0) + 2 * int(needs.get("artifact_bytes") or 0) // 2**20
    copies, at_copies = 0, set()
    database = stack.at(needs["database"]) if needs.get("database") else None
    if database is not None:
        copies = -(-2 * database_bytes(database) // 2**20)
        at_copies = {_existing(path).stat().st_dev for path in (database, stack.state_dir)}
    places = [Path(name) for name in needs.get("paths") or ["/"]]
    if database is not None and copies:
        places += [database.parent, stack.state_dir]
    seen = set()
    for name in places:
        path = _existing(name)
        device = path.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        need = always + (copies if device in at_copies else 0)
        space, inodes = free(path)
        few = inodes is not None and inodes < 1000
        measured = f"{space} MiB free" + (f", only {inodes} inodes" if few else "")
        remedy = f"Free space on the file system of {name}, or add some."
        yield Item(f"disk {name}", space >= need and not few, measured, f"{need} MiB free", remedy)


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _memory(need: int) -> Item:
    found = available_mb()
    remedy = "Stop something or add memory."
    return Item("memory", found >= need, f"{found} MiB available", f"{need} MiB", remedy)


def _ports(stack: Stack, wanted: list[Any]) -> Iterator[Item]:
    """Ports held by this stack's own units are fine; a static stack's are nginx's."""
    own = {stack.unit(slot) for slot in (*SLOTS, "rehearsal")}
    held = [item for item in processes.listeners() if item.proto == "tcp"] if wanted else []
    for entry in wanted:
        port = int(str(entry).split("/", maxsplit=1)[0])
        foreign = [item for item in held if item.port == port and not _ours(stack, item, own)]
        if foreign:
            who = foreign[0]
            measured = f"held by {who.process or 'a process'} (pid {who.pid}) on {who.address}"
            remedy = f"Stop {who.process or 'it'} or choose another port."
        else:
            measured, remedy = "free or our own", ""
        yield Item(f"port {port}", not foreign, measured, "free, or held by this stack", remedy)


def _ours(stack: Stack, item: processes.Listener, own: set[str]) -> bool:
    unit = processes.unit_of(item.pid) if item.pid is not None else None
    web = stack.is_static or item.port in {80, 443}
    return unit in own or (unit == "nginx.service" and web)


def _clock(now: float | None) -> Item:
    if now is None:
        # Without the operator's clock only nonsense can be seen: before 2024, after 2100.
        sane = 1_704_067_200 < time.time() < 4_102_444_800
        return Item("clock", sane, time.strftime("%Y-%m-%d", time.gmtime()), "a sane date")
    skew = time.time() - float(now)
    measured = f"{skew:+.0f} s from the operator's clock"
    expected = f"within {MAX_SKEW:.0f} s"
    remedy = "Set the clock (timedatectl set-ntp true)."
    return Item("clock", abs(skew) <= MAX_SKEW, measured, expected, remedy, "warn")


def _dpkg() -> Item:
    holder = _dpkg_holder()
    measured = "free" if holder is None else f"held by pid {holder}"
    remedy = "Wait until the other package run ends (unattended-upgrades, apt)."
    return Item("dpkg lock", holder is None, measured, "free", remedy, "warn")


def _dpkg_holder() -> int | None:
    """Name the process that installs packages now, read from the kernel: nothing is locked."""
    try:
        inode = Path("/var/lib/dpkg/lock-frontend").stat().st_ino
        rows = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for fields in map(str.split, rows):
        if "->" not in fields and fields[5].rpartition(":")[2] == str(inode):
            return int(fields[4])
    return None


def _nginx() -> Iterator[Item]:
    if not Path(nginx.HOME, "nginx.conf").is_file() or not shutil.which("nginx", path="/usr/sbin"):
        return
    remedy = "Repair nginx's configuration: no change can be tested on top of a bad one."
    try:
        yield Item("nginx", True, nginx.check_present(), "nginx -t succeeds")
    except HostError as problem:
        output = str(problem.detail.get("output") or problem.message)
        lines = [line for line in output.splitlines() if "[emerg]" in line] or [output]
        yield Item("nginx", False, lines[0], "nginx -t succeeds", remedy)


COMMANDS = {"preflight": preflight}
