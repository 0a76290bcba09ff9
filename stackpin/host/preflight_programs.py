"""The user, the kernel, the init system, and the programs: there, and not too old."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stackpin.host import nginx, system
from stackpin.host.errors import HostError
from stackpin.host.preflight_item import Item

__all__ = ["look"]

OLDEST_SYSTEMD = 247
PACKAGES = {"ss": "iproute2", "nginx": "nginx", "git": "git", "python3": "python3"}
SYSTEM_COMMANDS = {"systemctl", "systemd-run", "python3"}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ASKED = {
    "docker": ("docker", "--version"),
    "compose": ("docker", "compose", "version", "--short"),
    "restic": ("restic", "version"),
    "nginx": ("nginx", "-v"),
    "git": ("git", "--version"),
}


def look(needs: Mapping[str, Any]) -> Iterator[Item]:
    """Ask about needs.kernel ("5.10"), .commands (names) and .versions ({program: minimum})."""
    user = os.geteuid()
    yield Item("root", user == 0, f"user id {user}", "root", "Connect as root or with sudo.")
    yield _kernel(str(needs.get("kernel") or "0"))
    found = ".".join(map(str, sys.version_info[:3]))
    yield Item("python", sys.version_info >= (3, 10), found, ">= 3.10", "Use Debian 12 or later.")
    yield _systemd()
    for name in needs.get("commands") or []:
        yield _command(name)
    for name, minimum in (needs.get("versions") or {}).items():
        yield _version(name, str(minimum))
    yield from _nginx()


def numbers(version: str) -> tuple[int, ...]:
    """Read the leading numbers of a version: "26.1.5+dfsg1" is (26, 1, 5)."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found.group().split("."))) if found else ()


def _kernel(minimum: str) -> Item:
    release = platform.release()
    ok = numbers(release) >= numbers(minimum)
    return Item("kernel", ok, release, f">= {minimum}", "Upgrade the host and restart it.")


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


def _command(name: str) -> Item:
    found = shutil.which(name, path=PATH)
    # Packages can still be installed by the deploy; an init system cannot.
    severity = "fail" if name in SYSTEM_COMMANDS else "warn"
    remedy = f"apt-get install {PACKAGES.get(name, name)}"
    measured = found or "absent"
    return Item(f"command {name}", found is not None, measured, "installed", remedy, severity)


def _version(name: str, minimum: str) -> Item:
    label, expected = f"version {name}", f">= {minimum}"
    told = ""
    asked = ASKED.get(name, (name, "--version"))
    if shutil.which(asked[0], path=PATH):
        try:
            done = system.run(asked, timeout=15.0, check=False)
            told = f"{done.out} {done.err}" if done.ok else ""
        except HostError as problem:
            told = problem.message
    found = re.search(r"\d+(\.\d+)+", told)
    if found is None:
        measured = " ".join(told.split())[:80] or "absent"
        return Item(label, False, measured, expected, "The deploy installs it.", "warn")
    remedy = f"Install a newer {name}; stackpin_packages may name its version."
    return Item(label, numbers(found.group()) >= numbers(minimum), found.group(), expected, remedy)


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
