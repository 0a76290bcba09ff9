"""The checks that look at the host itself; each takes a Check and a Probe.

Each returns (ok, expected, got). They may raise HostError, OSError, ValueError or KeyError (a name
that cannot be filled in): checks.py turns those into failed results.
"""

from __future__ import annotations

import importlib
import os
import re
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stackpin.host import owners, sqlite_db, system
from stackpin.host.masking import Masker
from stackpin.host.stack import Stack

SHOWN = 300
LOG_PATTERN = r"(?i)\b(panic|fatal|traceback)\b"


@dataclass(frozen=True)
class Probe:
    """What a check is run against. `port` and `slot` are None outside a slot; `timeout` seconds."""

    stack: Stack
    slot: str | None
    port: int | None
    env: Mapping[str, str]
    version: str | None
    timeout: float
    mask: Masker
    address: str | None = None

    def fill(self, text: str) -> str:
        """Replace {address}, {port}, {slot} and {stack}. Raises KeyError for one not known."""
        known = {
            "address": self.address,
            "port": self.port,
            "slot": self.slot,
            "stack": self.stack.name,
        }

        def value(match: re.Match[str]) -> str:
            found = known[match.group(1)]
            if found is None:
                raise KeyError(f"{{{match.group(1)}}}")
            return str(found)

        return re.sub(r"\{(address|port|slot|stack)\}", value, text)

    def unit(self, check: Mapping[str, Any]) -> str:
        """Name the unit a check is about: its own, or the slot's."""
        return self.fill(str(check.get("unit") or "{stack}@{slot}.service"))

    def show(self, text: str) -> str:
        """`text` masked, on one line, cut to what fits a result."""
        return " ".join(self.mask(text).split())[:SHOWN]


Verdict = tuple[bool, str, str]


def tcp(check: Mapping[str, Any], probe: Probe) -> Verdict:
    """`host` (default loopback) accepts a connection on `port` (default the slot's)."""
    port = check.get("port") or probe.fill("{port}")
    address = str(check.get("host") or "127.0.0.1")
    expected = f"{address}:{port} accepts"
    try:
        socket.create_connection((address, int(port)), probe.timeout).close()
    except OSError as problem:
        return False, expected, str(problem)
    return True, expected, "accepts"


def systemd(check: Mapping[str, Any], probe: Probe) -> Verdict:
    """Pass when `unit` (default the slot's) is in `state` (default active)."""
    unit, state = probe.unit(check), str(check.get("state") or "active")
    fields = system.run(
        ["systemctl", "show", unit, "-p", "ActiveState,SubState,Result,NRestarts"],
        timeout=probe.timeout,
    ).out
    found = dict(line.split("=", 1) for line in fields.splitlines() if "=" in line)
    got = "{ActiveState} ({SubState}), result {Result}".format_map(_Unknown(found))
    if found.get("NRestarts", "0") not in {"", "0"}:
        got += f", {found['NRestarts']} restarts"
    return found.get("ActiveState") == state, f"{unit} {state}", got


def disk(check: Mapping[str, Any], probe: Probe) -> Verdict:
    """`free_mb` MiB are free where `path` (default the stack's data) is."""
    path = Path(probe.fill(str(check.get("path") or probe.stack.data)))
    need, (found, _inodes) = int(check.get("free_mb") or 0), free(path)
    return found >= need, f"{need} MiB free at {path}", f"{found} MiB"


def free(path: Path) -> tuple[int, int | None]:
    """MiB and inodes an ordinary user may still use at `path` or its nearest existing parent.

    Inodes are None on file systems that do not count them (btrfs).
    """
    while not path.exists() and path != path.parent:
        path = path.parent
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize // 2**20, found.f_favail if found.f_files else None


def memory(check: Mapping[str, Any], _probe: Probe) -> Verdict:
    """At least `available_mb` MiB of memory can be had without swapping."""
    need, found = int(check.get("available_mb") or 64), available_mb()
    return found >= need, f"{need} MiB of memory available", f"{found} MiB"


def available_mb() -> int:
    """MiB the kernel calls MemAvailable."""
    text = Path("/proc/meminfo").read_text(encoding="ascii")
    match = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    return int(match.group(1)) // 1024 if match else 0


def permissions(check: Mapping[str, Any], probe: Probe) -> Verdict:
    """`path` has the `mode` (octal text), `user` and `group` that are named."""
    path = Path(probe.fill(str(check["path"])))
    wanted = {key: str(check[key]) for key in ("mode", "user", "group") if check.get(key)}
    if "mode" in wanted:
        wanted["mode"] = f"{int(wanted['mode'], 8):04o}"
    expected = f"{path} " + " ".join(wanted.values())
    if not path.exists():
        return False, expected, "absent"
    found = owners.of(path)
    got = " ".join(found[key] for key in wanted)
    return all(found[key] == value for key, value in wanted.items()), expected, got


def log(check: Mapping[str, Any], probe: Probe) -> Verdict:
    """No line of the unit's log since it last started matches one of `patterns`."""
    unit = probe.unit(check)
    patterns = [re.compile(str(one)) for one in check.get("patterns") or [LOG_PATTERN]]
    shown_patterns = " or ".join(one.pattern for one in patterns)
    expected = f"no line like {shown_patterns} in the log of {unit}"
    shown = system.run(
        ["systemctl", "show", unit, "-p", "InvocationID", "--value"], timeout=probe.timeout
    )
    invocation = shown.out.strip()
    if not invocation:
        return False, expected, "the unit has not run"
    text = system.run(
        ["journalctl", "-q", "-o", "cat", "-n", "5000", f"_SYSTEMD_INVOCATION_ID={invocation}"],
        timeout=probe.timeout,
    ).out
    bad = [line for line in text.splitlines() if any(one.search(line) for one in patterns)]
    last = f", the last: {probe.show(bad[-1])}" if bad else ""
    return not bad, expected, f"{len(bad)} lines{last}"


def sqlite(check: Mapping[str, Any], probe: Probe) -> Verdict:
    """Pass when the database at `path` is intact, has `tables` and is at `schema_version`."""
    named = check.get("path") or probe.stack.database
    if not named:
        raise KeyError("database")
    path, wanted = Path(probe.fill(str(named))), check.get("schema_version")
    if not path.is_file():
        return False, f"{path} to be there", "absent"
    with closing(sqlite_db.open_read_only(path, probe.timeout)) as db:
        intact = sqlite_db.integrity(db)
        tables = sqlite_db.table_names(db)
        version = sqlite_db.schema_version(db)
    missing = sorted(set(check.get("tables") or ()) - set(tables))
    expected, got = [f"{path} ok"], [intact, f"{len(tables)} tables"]
    if missing:
        got.append(f"no table {', '.join(missing)}")
    if wanted is not None:
        expected.append(f"schema {wanted}")
        got.append(f"schema {version}")
    ok = intact == "ok" and not missing
    ok = ok and (wanted is None or str(wanted) == version)
    return ok, ", ".join(expected), ", ".join(got)


def certificate(check: Mapping[str, Any], probe: Probe) -> Verdict:
    """Pass when the certificate at `path`, or that of `host`:`port`, is valid for `days` more."""
    days = float(check.get("days") or 0)
    if check.get("path"):
        pem = Path(probe.fill(str(check["path"]))).read_text(encoding="ascii")
    else:
        pem = _served(str(check.get("host") or "127.0.0.1"), int(check.get("port") or 443), probe)
    shown = system.run(
        ["openssl", "x509", "-noout", "-enddate"], input=pem, timeout=probe.timeout, check=False
    ).out
    ends = re.search(r"^notAfter=(.*)$", shown, re.MULTILINE)
    if not ends:
        raise ValueError(f"openssl could not read the certificate: {shown.strip()}")
    left = (ssl.cert_time_to_seconds(ends.group(1)) - time.time()) / 86400
    return left >= days, f"a certificate valid for {days:g} days", f"{left:.1f} days left"


def _served(host: str, port: int, probe: Probe) -> str:
    """Return the PEM of what a port serves. Who signed it is not asked: it may be self-signed."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((host, port), probe.timeout) as plain,
        context.wrap_socket(plain) as secured,
    ):
        return ssl.DER_cert_to_PEM_cert(secured.getpeercert(binary_form=True) or b"")


def command(check: Mapping[str, Any], probe: Probe) -> Verdict:
    """`argv` (no shell) ends with `exit_code` and prints every text in `contains`."""
    argv = [probe.fill(str(part)) for part in check["argv"]]
    done = system.run(argv, timeout=probe.timeout, check=False)
    code, parts = (
        int(check.get("exit_code") or 0),
        [str(part) for part in check.get("contains") or ()],
    )
    expected = ", ".join([f"exit {code}", *(f"output with {part!r}" for part in parts)])
    output = done.out + done.err
    ok = done.code == code and all(part in output for part in parts)
    return ok, probe.mask(expected), f"exit {done.code}: {probe.show(output)}"


def container(check: Mapping[str, Any], probe: Probe) -> Verdict:
    """Pass when a container runs, is not unhealthy and has not been restarted too often.

    It is the slot's, or the one of our stack named `container` or of compose `service`.
    """
    docker = importlib.import_module("stackpin.host.drivers.docker")
    name, service = check.get("container"), check.get("service")
    most = check.get("max_restarts")
    wanted = ["running"] + (["healthy"] if check.get("healthy") else [])
    if most is not None:
        wanted.append(f"at most {most} restarts")
    expected = ", ".join(wanted)
    found = [
        item
        for item in docker.containers(probe.stack)
        if (name and item.name == name)
        or (service and item.service == service)
        or (not name and not service and item.slot == (probe.slot or probe.fill("{slot}")))
    ]
    if not found:
        return False, expected, "no such container"
    one = found[0]
    told = [one.state, one.health or "no health check", f"{one.restarts} restarts"]
    if one.state != "running":
        told.append(f"exit {one.exit_code}")
    ok = one.state == "running" and one.health != "unhealthy"
    ok = ok and (not check.get("healthy") or one.health == "healthy")
    ok = ok and (most is None or one.restarts <= int(most))
    return ok, expected, ", ".join(told)


class _Unknown(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "unknown"


KINDS: dict[str, Callable[[dict[str, Any], Probe], Verdict]] = {
    "tcp": tcp,
    "systemd": systemd,
    "disk": disk,
    "memory": memory,
    "permissions": permissions,
    "log": log,
    "sqlite": sqlite,
    "certificate": certificate,
    "command": command,
    "container": container,
}
