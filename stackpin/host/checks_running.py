"""The checks of what runs: units, containers and their logs; each takes a Check and a Probe.

They return and raise as those of checks_local.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from stackpin.host import system
from stackpin.host.checks_probe import Probe, Verdict
from stackpin.host.drivers import docker, driver

__all__ = ["container", "log", "systemd"]

LOG_PATTERN = r"(?i)\b(panic|fatal|traceback)\b"
LINES = "5000"  # of a log are read, the newest


def systemd(check: Mapping[str, Any], probe: Probe) -> Verdict:
    """Pass when `unit` (default the slot's) is in `state` (default active).

    `of`: another stack, whose live slot is meant.
    """
    probe = probe.of(check.get("of"))
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


def log(check: Mapping[str, Any], probe: Probe) -> Verdict:
    """No line of the log since the unit or container last started matches one of `patterns`.

    `of`: another stack, whose live slot is meant.
    """
    probe = probe.of(check.get("of"))
    patterns = [re.compile(str(one)) for one in check.get("patterns") or [LOG_PATTERN]]
    shown_patterns = " or ".join(one.pattern for one in patterns)
    place = probe.fill("{stack}@{slot}") if probe.stack.uses_images else probe.unit(check)
    expected = f"no line like {shown_patterns} in the log of {place}"
    lines = _container_log(probe) if probe.stack.uses_images else _unit_log(place, probe)
    if lines is None:
        return False, expected, "it has not run"
    bad = [line for line in lines if any(one.search(line) for one in patterns)]
    last = f", the last: {probe.show(bad[-1])}" if bad else ""
    return not bad, expected, f"{len(bad)} lines{last}"


def _unit_log(unit: str, probe: Probe) -> list[str] | None:
    shown = system.run(
        ["systemctl", "show", unit, "-p", "InvocationID", "--value"], timeout=probe.timeout
    )
    invocation = shown.out.strip()
    if not invocation:
        return None
    argv = ["journalctl", "-q", "-o", "cat", "-n", LINES, f"_SYSTEMD_INVOCATION_ID={invocation}"]
    return system.run(argv, timeout=probe.timeout).out.splitlines()


def _container_log(probe: Probe) -> list[str] | None:
    drv, slot = driver(probe.stack), probe.fill("{slot}")
    started = drv.show(probe.stack, (slot,))[slot]["started"]
    if started is None:
        return None
    since = datetime.fromisoformat(str(started).replace("Z", "+00:00")).timestamp()
    return drv.last_log(probe.stack, slot, dict(probe.env), since, int(LINES))


def container(check: Mapping[str, Any], probe: Probe) -> Verdict:
    """Pass when a container runs, is not unhealthy and has not been restarted too often.

    It is the slot's, or the one of our stack named `container` or of compose `service`. `of`:
    another stack, whose live slot is meant.
    """
    probe = probe.of(check.get("of"))
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
