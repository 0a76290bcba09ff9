"""What runs on this host and where it listens, read from /proc without starting a program."""

from __future__ import annotations

import os
import re
import socket
import struct
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Listener", "Process", "listeners", "process", "resources", "unit_of"]

PROC = Path("/proc")
_LISTEN, _UDP_BOUND = "0A", "07"


class Listener(NamedTuple):
    """One open port: proto tcp or udp, address as text, pid of the first process that holds it."""

    proto: str
    address: str
    port: int
    pid: int | None
    process: str | None

    @property
    def loopback(self) -> bool:
        """True when only this host can reach it."""
        return self.address.startswith(("127.", "::ffff:127.")) or self.address == "::1"

    def as_json(self) -> dict[str, Any]:
        """Return {proto, address, port, pid, process}."""
        return self._asdict()


class Process(NamedTuple):
    """One process; started is ISO 8601 UTC, environment is empty when it may not be read."""

    pid: int
    exe: str | None
    exe_deleted: bool
    cmdline: list[str]
    environment: dict[str, str]
    started: str | None


def process(pid: int) -> Process | None:
    """Read one process; None when it is gone."""
    base = PROC / str(pid)
    try:
        cmdline = (base / "cmdline").read_bytes()
        stat = (base / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    try:
        exe: str | None = str((base / "exe").readlink())
    except OSError:
        exe = None
    try:
        raw = (base / "environ").read_bytes()
    except OSError:
        raw = b""
    pairs = (item.split(b"=", 1) for item in raw.split(b"\0") if b"=" in item)
    return Process(
        pid,
        exe,
        bool(exe and exe.endswith(" (deleted)")),
        [part.decode("utf-8", "replace") for part in cmdline.rstrip(b"\0").split(b"\0")],
        {k.decode("utf-8", "replace"): v.decode("utf-8", "replace") for k, v in pairs},
        _started(stat),
    )


def resources(pid: int) -> dict[str, Any] | None:
    """Return {rss_bytes, cpu_seconds, started} of one process; None when it is gone.

    cpu_seconds: user and system time of all its threads since `started`.
    """
    try:
        stat = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the 3rd on: the name before may hold spaces
    ticks = int(fields[11]) + int(fields[12])
    return {
        "rss_bytes": int(fields[21]) * os.sysconf("SC_PAGE_SIZE"),
        "cpu_seconds": round(ticks / os.sysconf("SC_CLK_TCK"), 2),
        "started": _started(stat),
    }


def _started(stat: str) -> str | None:
    boot = re.search(r"^btime (\d+)$", (PROC / "stat").read_text(encoding="ascii"), re.MULTILINE)
    if not boot:
        return None
    # The name in parentheses may hold spaces: count the fields after it. starttime is the 22nd.
    ticks = int(stat.rpartition(")")[2].split()[19])
    seconds = int(boot.group(1)) + ticks / os.sysconf("SC_CLK_TCK")
    moment = datetime.fromtimestamp(seconds, timezone.utc)  # noqa: UP017 (Python 3.10)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def unit_of(pid: int) -> str | None:
    """Name the systemd unit a process belongs to, None when it has none."""
    try:
        text = (PROC / str(pid) / "cgroup").read_text(encoding="utf-8")
    except OSError:
        return None
    names = re.findall(r"/([^/\n]+\.(?:service|scope|socket))", text)
    return str(names[-1]) if names else None


def listeners() -> list[Listener]:
    """List every listening TCP and bound UDP socket, sorted; one line per address and port.

    UDP ports from which programs only ask (the ephemeral range, DHCP clients) are left out.
    """
    low = _first_ephemeral()
    found: dict[tuple[str, str, int], str] = {}
    for proto, name, state in (
        ("tcp", "tcp", _LISTEN),
        ("tcp", "tcp6", _LISTEN),
        ("udp", "udp", _UDP_BOUND),
        ("udp", "udp6", _UDP_BOUND),
    ):
        try:
            rows = (PROC / "net" / name).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, rows):
            address, port = _address(fields[1])
            if fields[3] != state or (proto == "udp" and (port >= low or port in {68, 546})):
                continue
            found.setdefault((proto, address, port), fields[9])
    holders = _holders(set(found.values()))
    return sorted(
        (Listener(*key, *holders.get(inode, (None, None))) for key, inode in found.items()),
        key=lambda item: (item.port, item.proto, item.address),
    )


def _first_ephemeral() -> int:
    try:
        text = (PROC / "sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
        return int(text.split()[0])
    except (OSError, ValueError, IndexError):
        return 32768


def _address(field: str) -> tuple[str, int]:
    """Decode the kernel's "0100007F:1F90": 32-bit words in the machine's own byte order."""
    text, port = field.split(":")
    words = [int(text[i : i + 8], 16) for i in range(0, len(text), 8)]
    raw = struct.pack(f"={len(words)}I", *words)
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return socket.inet_ntop(family, raw), int(port, 16)


def _holders(inodes: set[str]) -> dict[str, tuple[int, str]]:
    """Find who holds each socket: {inode: (lowest pid, program name)}."""
    found: dict[str, tuple[int, str]] = {}
    for pid in sorted(int(path.name) for path in PROC.iterdir() if path.name.isdigit()):
        base = PROC / str(pid)
        try:
            entries = list((base / "fd").iterdir())
            name = (base / "comm").read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            continue
        for entry in entries:
            try:
                link = str(entry.readlink())
            except OSError:
                continue  # closed meanwhile; the others still count
            inode = link[8:-1] if link.startswith("socket:[") else ""
            if inode in inodes:
                found.setdefault(inode, (pid, name))
    return found
