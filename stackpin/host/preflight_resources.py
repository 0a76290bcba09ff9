"""CPUs, memory, disk and inodes against what is needed, and against what is recommended."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stackpin.host.checks_local import available_mb, free
from stackpin.host.preflight_item import Item
from stackpin.host.room import database_bytes
from stackpin.host.stack import Stack

__all__ = ["look"]

MIB = 2**20
FEWEST_INODES = 1000  # releases, a rehearsal and a backup's copy make a few hundred files
CONTROLLERS = ("cpu", "memory", "pids")  # without them docker's limits do nothing
CGROUP = Path("/sys/fs/cgroup")


def look(stack: Stack, needs: Mapping[str, Any]) -> Iterator[Item]:
    """Ask about needs.cpus, .memory_mb (available), .memory_total_mb, .disk_mb, .recommended.

    And, where needs.docker, about the controllers that limit containers.
    """
    better = needs.get("recommended") or {}
    cpus = len(os.sched_getaffinity(0))
    yield _enough("cpus", cpus, int(needs.get("cpus") or 1), "CPU", "Add CPUs.")
    if better.get("cpus"):
        yield _better("cpus", cpus, better["cpus"], "CPU")
    remedy = "Stop something or add memory."
    need = int(needs.get("memory_mb") or 0)
    yield _enough("memory", available_mb(), need, "MiB available", remedy)
    if total := int(needs.get("memory_total_mb") or 0):
        yield _enough("total memory", _total_mb(), total, "MiB built in", "Add memory.")
    if better.get("memory_mb"):
        yield _better("memory", _total_mb(), better["memory_mb"], "MiB built in")
    yield from _disks(stack, needs, better.get("disk_mb"))
    if needs.get("docker"):
        yield _cgroup()


def _enough(name: str, found: int, need: int, unit: str, remedy: str) -> Item:
    return Item(name, found >= need, f"{found} {unit}", f"{need} {unit}", remedy)


def _better(name: str, found: int, wanted: int, unit: str) -> Item:
    remedy = "It can work with less; expect it to be slow under load."
    name, measured, expected = f"recommended {name}", f"{found} {unit}", f"{wanted} {unit}"
    return Item(name, found >= int(wanted), measured, expected, remedy, "warn")


def _total_mb() -> int:
    text = Path("/proc/meminfo").read_text(encoding="ascii")
    match = re.search(r"^MemTotal:\s+(\d+) kB", text, re.MULTILINE)
    return int(match.group(1)) // 1024 if match else 0


def _disks(stack: Stack, needs: Mapping[str, Any], recommended: int | None) -> Iterator[Item]:
    """Look once at each file system."""
    # An artifact is on disk twice while it becomes a release; of a database a backup and a
    # rehearsal each make a copy, beside the state and beside the data.
    always = int(needs.get("disk_mb") or 0) + 2 * int(needs.get("artifact_bytes") or 0) // MIB
    named = needs.get("databases") or [needs.get("database")]
    copied = {
        stack.at(name): -(-2 * database_bytes(stack.at(name)) // MIB) for name in named if name
    }
    copied = {path: size for path, size in copied.items() if size}
    at_copies = {_existing(path).stat().st_dev for path in (*copied, stack.state_dir) if copied}
    places = [Path(name) for name in needs.get("paths") or ["/"]]
    if stack.installed:  # either may be a disk of its own by now
        places += [stack.opt_dir, stack.at(stack.data)]
    if copied:
        places += [*(path.parent for path in copied), stack.state_dir]
    seen = set()
    for name in places:
        path = _existing(name)
        device = path.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        need = always + (sum(copied.values()) if device in at_copies else 0)
        space, inodes = free(path)
        remedy = f"Free space on the file system of {name}, or add some."
        yield _enough(f"disk {name}", space, need, "MiB free", remedy)
        if recommended:
            yield _better(f"disk {name}", space, recommended, "MiB free")
        if inodes is not None:
            remedy = f"Remove files nobody needs on the file system of {name}."
            yield _enough(f"inodes {name}", inodes, FEWEST_INODES, "free", remedy)


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _cgroup() -> Item:
    try:
        found = (CGROUP / "cgroup.controllers").read_text(encoding="ascii").split()
        kind = "v2"
    except OSError:
        found = [path.name for path in CGROUP.iterdir()] if CGROUP.is_dir() else []
        found, kind = [name for entry in found for name in entry.split(",")], "v1"
    measured = (
        f"{kind}: {' '.join(name for name in CONTROLLERS if name in found) or 'none of them'}"
    )
    ok = set(CONTROLLERS) <= set(found)
    remedy = "Enable them on the kernel's command line, or container limits do nothing."
    return Item("cgroup", ok, measured, " ".join(CONTROLLERS), remedy, "warn")
