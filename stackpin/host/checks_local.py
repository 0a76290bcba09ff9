"""The checks that look at the host itself; each takes a Check and a Probe.

Each returns (ok, expected, got). They may raise HostError, OSError, ValueError or KeyError (a name
that cannot be filled in): checks.py turns those into failed results.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from stackpin.host import checks_running, owners, sqlite_db, system
from stackpin.host.checks_probe import Probe, Verdict

__all__ = ["KINDS", "available_mb", "days_left", "free"]


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


def disk(check: Mapping[str, Any], probe: Probe) -> Verdict:
    """`free_mb` MiB are free where `path` (default the stack's data) is.

    And no more than `max_used_percent` of what ordinary users may have are used, as `df` counts.
    """
    path = _existing(Path(probe.fill(str(check.get("path") or probe.stack.data))))
    need, (found, _inodes) = int(check.get("free_mb") or 0), free(path)
    now = os.statvfs(path)
    used = now.f_blocks - now.f_bfree
    ok, expected, got = _used(check.get("max_used_percent"), used, used + now.f_bavail)
    return found >= need and ok, f"{need} MiB free{expected} at {path}", f"{found} MiB{got}"


def _used(most: object, used: int, total: int) -> Verdict:
    """Judge the share in use, if one is given; expected and got continue a text."""
    if most is None:
        return True, "", ""
    percent = 100 * used / max(1, total)
    return percent <= int(str(most)), f", at most {most} % used", f", {percent:.1f} % used"


def free(path: Path) -> tuple[int, int | None]:
    """MiB and inodes an ordinary user may still use at `path` or its nearest existing parent.

    Inodes are None on file systems that do not count them (btrfs).
    """
    found = os.statvfs(_existing(path))
    return found.f_bavail * found.f_frsize // 2**20, found.f_favail if found.f_files else None


def _existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def memory(check: Mapping[str, Any], _probe: Probe) -> Verdict:
    """At least `available_mb` MiB can be had without swapping, `max_used_percent` are in use."""
    need, found = int(check.get("available_mb") or 64), available_mb()
    total = _meminfo("MemTotal")
    ok, expected, got = _used(check.get("max_used_percent"), total - found, total)
    return found >= need and ok, f"{need} MiB of memory available{expected}", f"{found} MiB{got}"


def available_mb() -> int:
    """MiB the kernel calls MemAvailable."""
    return _meminfo("MemAvailable")


def _meminfo(name: str) -> int:
    text = Path("/proc/meminfo").read_text(encoding="ascii")
    match = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
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
    left = days_left(pem, probe.timeout)
    return left >= days, f"a certificate valid for {days:g} days", f"{left:.1f} days left"


def days_left(pem: str, timeout: float) -> float:
    """Return for how many days the first certificate in `pem` is still valid."""
    asked = ["openssl", "x509", "-noout", "-enddate"]
    shown = system.run(asked, input=pem, timeout=timeout, check=False).out
    ends = re.search(r"^notAfter=(.*)$", shown, re.MULTILINE)
    if not ends:
        raise ValueError(f"openssl could not read the certificate: {shown.strip()}")
    return (ssl.cert_time_to_seconds(ends.group(1)) - time.time()) / 86400


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


KINDS: dict[str, Callable[[dict[str, Any], Probe], Verdict]] = {
    "tcp": tcp,
    "systemd": checks_running.systemd,
    "disk": disk,
    "memory": memory,
    "permissions": permissions,
    "log": checks_running.log,
    "sqlite": sqlite,
    "certificate": certificate,
    "command": command,
    "container": checks_running.container,
}
