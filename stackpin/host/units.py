"""The systemd units of a stack's slots: what they do now, starting, stopping, their last words."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from stackpin.host.masking import Masker
from stackpin.host.stack import Stack
from stackpin.host.system import run

__all__ = ["last_log", "reload", "show", "start", "stop"]

STOP_TIMEOUT = 120.0  # seconds; systemd itself kills after TimeoutStopSec (90 by default)
_ASKED = "Id,ActiveState,SubState,MainPID,ExecMainStartTimestamp,NRestarts,Result,Job"


def show(stack: Stack, slots: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Return {slot: {active, sub, main_pid, started, restarts, result, job}}, asking once.

    active: systemd's word (active, activating, failed, inactive...). started: ISO 8601 or
    null. job: number of a start or stop systemd still has to do, or null.
    """
    names = {stack.unit(slot): slot for slot in slots}
    answer = run(["systemctl", "show", "--timestamp=unix", f"--property={_ASKED}", *names])
    found: dict[str, dict[str, Any]] = {}
    for block in answer.out.split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        slot = names.get(values.get("Id", ""))
        if slot is not None:
            found[slot] = {
                "active": values.get("ActiveState") or "inactive",
                "sub": values.get("SubState"),
                "main_pid": int(values.get("MainPID") or 0) or None,
                "started": _time(values.get("ExecMainStartTimestamp")),
                "restarts": int(values.get("NRestarts") or 0),
                "result": values.get("Result"),
                "job": int(values.get("Job") or 0) or None,
            }
    absent: dict[str, Any] = dict.fromkeys(("main_pid", "started", "result", "job"))
    absent.update(active="inactive", sub="dead", restarts=0)
    return {slot: found.get(slot, dict(absent)) for slot in slots}


def reload() -> None:
    """Make systemd read unit files again."""
    run(["systemctl", "daemon-reload"], timeout=60)


def start(stack: Stack, slot: str) -> None:
    """Begin to start a slot and return at once: readiness is asked of its port, not of systemd."""
    run(["systemctl", "reset-failed", stack.unit(slot)], check=False)
    run(["systemctl", "start", "--no-block", stack.unit(slot)])


def stop(stack: Stack, *slots: str) -> None:
    """Stop slots and wait until they are gone; a unit never heard of counts as stopped."""
    names = [stack.unit(slot) for slot in slots]
    answer = run(["systemctl", "stop", *names], timeout=STOP_TIMEOUT, check=False)
    if not answer.ok and "not loaded" not in answer.err:
        run(["systemctl", "kill", "--signal=SIGKILL", *names], check=False)
        run(["systemctl", "stop", *names], timeout=STOP_TIMEOUT)


def last_log(
    stack: Stack, slot: str, env: dict[str, str], since: float | None = None, lines: int = 20
) -> list[str]:
    """Return a slot's last log lines, secrets of `env` masked; since: unix seconds."""
    argv = ["journalctl", "--unit", stack.unit(slot), "--output=cat", "--no-pager", "-q"]
    argv += [f"--lines={lines}"]
    if since is not None:
        argv.append(f"--since=@{int(since)}")  # whole seconds, never a later one
    answer = run(argv, check=False, timeout=15)
    mask = Masker.of(env)
    return [mask(line)[:500] for line in answer.out.splitlines() if line.strip()]


def _time(text: str | None) -> str | None:
    if not text or not text.startswith("@"):
        return None
    seconds = float(text[1:])
    if seconds <= 0:
        return None
    return (
        datetime.fromtimestamp(seconds, timezone.utc)  # noqa: UP017 (Python 3.10)
        .isoformat(timespec="seconds")
        .replace("+00:00", "Z")
    )
