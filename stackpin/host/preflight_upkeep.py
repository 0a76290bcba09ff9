"""What else goes wrong with hosts: clocks, package runs, pending restarts, denials."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from stackpin.host import system
from stackpin.host.errors import HostError
from stackpin.host.preflight_item import Item
from stackpin.host.stack import Stack, host_root

__all__ = ["look"]

MAX_SKEW = 60.0  # seconds between this host's clock and the operator's
LOCKS = {  # the first is there on every host of its manager
    "dpkg lock": ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock"),
    "rpm lock": ("/var/lib/rpm/.rpm.lock", "/usr/lib/sysimage/rpm/.rpm.lock"),
}
DENIED = re.compile(r'apparmor="DENIED"|avc:\s+denied')
DENIALS = ["journalctl", "-q", "--no-pager", "-o", "cat", "--since=-1day", "--lines=5000"]


def look(now: float | None) -> Iterator[Item]:
    """Ask all of it; now: the operator's clock, unix seconds. No answer changes anything."""
    yield _clock(now)
    yield _synchronized()
    for name, paths in LOCKS.items():
        if any(Path(path).exists() for path in paths):
            yield _lock(name, paths)
    yield _restart()
    yield _selinux()
    yield _denials()


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


def _synchronized() -> Item:
    asked = ["timedatectl", "show", "--property=NTPSynchronized", "--value"]
    try:
        told = system.run(asked, timeout=10.0, check=False).out.strip()
    except HostError:
        told = ""
    measured = {"yes": "synchronized", "no": "not synchronized"}.get(told, "not known")
    remedy = "Run a time service (systemd-timesyncd, chrony): timedatectl set-ntp true."
    return Item("time sync", told == "yes", measured, "synchronized", remedy, "warn")


def _lock(name: str, paths: tuple[str, ...]) -> Item:
    holder = _holder(paths)
    measured = "free" if holder is None else f"held by {holder}"
    remedy = "Wait until the other package run ends (unattended-upgrades, apt)."
    return Item(name, holder is None, measured, "free", remedy, "warn")


def _holder(paths: tuple[str, ...]) -> str | None:
    """Name the process that holds a lock on one of `paths`, as the kernel tells: none is taken."""
    try:
        rows = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    pids = {fields[4] for fields in map(str.split, rows) if fields[1] in ("POSIX", "FLOCK")}
    for pid in sorted(pids):
        with contextlib.suppress(OSError):  # it ended, or is outside of this container
            name = Path("/proc", pid, "comm").read_text(encoding="utf-8", errors="replace")
            for entry in Path("/proc", pid, "fd").iterdir():
                with contextlib.suppress(OSError):  # closed meanwhile
                    if str(entry.readlink()) in paths:
                        return f"{name.strip()} (pid {pid})"
    return None


def _restart() -> Item:
    """Debian leaves a note; Fedora and its kin have a program that compares."""
    note = host_root() / "run/reboot-required"
    measured = "none"
    if note.exists():
        packages = note.with_name("reboot-required.pkgs")
        named = packages.read_text(encoding="utf-8").split() if packages.is_file() else []
        measured = f"pending for {', '.join(dict.fromkeys(named)) or 'updates'}"[:120]
    elif program := shutil.which("needs-restarting", path="/usr/bin:/bin"):
        try:
            if system.run([program, "-r"], timeout=30.0, check=False).code == 1:
                measured = "pending for updates"
        except HostError as problem:
            measured = f"not known ({problem.message})"
    remedy = "Restart the host when it suits you: what runs after it is not what runs now."
    return Item("restart of the host", measured == "none", measured, "none", remedy, "warn")


def _selinux() -> Item:
    try:
        told = (host_root() / "sys/fs/selinux/enforce").read_text(encoding="ascii").strip()
    except OSError:
        told = ""
    measured = {"1": "enforcing", "0": "permissive"}.get(told, "absent")
    remedy = "No policy for our paths is shipped: allow what `ausearch -m avc` shows as denied."
    return Item("selinux", told != "1", measured, "absent or permissive", remedy, "warn")


def _denials() -> Item:
    """Read what AppArmor and SELinux denied our own stacks, from the kernel's and audit's log."""
    try:
        asked = [*DENIALS, "_TRANSPORT=kernel", "+", "_TRANSPORT=audit"]
        lines = system.run(asked, timeout=20.0, check=False).out.splitlines()
    except HostError:
        lines = []
    ours = re.compile("|".join(_marks()))
    found = [line for line in lines if DENIED.search(line) and ours.search(line)]
    measured = f"{len(found)}, last: {found[-1][:160]}" if found else "none in the last day"
    remedy = "Correct the profile, or the path that is denied."
    return Item("denials", not found, measured, "none of our services", remedy, "warn")


def _marks() -> list[str]:
    """List what a denial's line has in it when it concerns a stack that is installed here."""
    marks = ["/var/lib/stackpin/", "/usr/local/lib/stackpin/"]
    for file in (host_root() / "etc/stackpin").glob("*/stack.json"):
        try:
            stack = Stack.load(file.parent.name)
        except HostError:
            continue
        marks += [f"{stack.opt}/", f"{stack.data}/", f"{stack.name}@"]
    return [re.escape(mark) for mark in marks]
