"""Waiting for a release to prove itself: its port, then its checks, until a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stackpin.host import releases, slots
from stackpin.host.checks import run_checks
from stackpin.host.drivers import driver
from stackpin.host.errors import HostError, gate_failed
from stackpin.host.gate import evaluate, explain
from stackpin.host.progress import say
from stackpin.host.stack import Stack

__all__ = ["Target", "check_once", "wait_healthy", "wait_ready"]

Still = Callable[[], object]
LOOPBACK = "127.0.0.1"
PORT_POLL = 0.1  # seconds
CONTAINER_POLL = 0.3  # seconds; each look is a program
ASK_SYSTEMD_EVERY = 0.5  # seconds


@dataclass(frozen=True)
class Target:
    """What is being judged: a release in a slot (slot None: a static stack, no process).

    since: unix seconds from which log lines count. restarts: those seen when it was started;
    pid: its main process then, None when not known.
    """

    stack: Stack
    slot: str | None
    release: str
    since: float | None = None
    restarts: int = 0
    pid: int | None = None

    @classmethod
    def running(cls, stack: Stack, slot: str | None, release: str) -> Target:
        """Make the target for what runs in a slot now; restarts so far are history."""
        if slot is None:
            return cls(stack, slot, release)
        now = driver(stack).show(stack, (slot,))[slot]
        return cls(stack, slot, release, time.time() - 1, now["restarts"], now["main_pid"])

    @property
    def env(self) -> dict[str, str]:
        """The environment the release runs with."""
        return releases.environment(self.stack, self.release, self.slot)

    def log(self) -> list[str]:
        """Its last log lines, without secrets."""
        if self.slot is None:
            return []
        try:
            return driver(self.stack).last_log(self.stack, self.slot, self.env, self.since)
        except HostError:
            return []  # a missing journalctl must not hide why the gate failed

    def failure(self, stage: str, why: str, gate: dict[str, Any] | None = None) -> HostError:
        """Make the gate error that names stage, reason and the last log lines."""
        log = self.log()
        told = f"; last log line: {log[-1]}" if log else ""
        named = self.slot is not None
        place = driver(self.stack).place(self.stack, str(self.slot)) if named else self.stack.name
        return gate_failed(
            f"{stage}: {place} with {self.release}: {why}{told}",
            stage=stage,
            gate={**gate, "log": log} if gate else None,
            reason=why,
            log=log,
        )


def check_once(target: Target, where: set[str]) -> dict[str, Any]:
    """Run the stack's checks once and return the GateResult."""
    stack = target.stack
    address = None if target.slot is None else driver(stack).address(stack, target.slot)
    results = run_checks(
        stack,
        list(stack.checks),
        port=None if address is None else address[1],
        address=None if address is None else address[0],
        slot=target.slot,
        env=target.env,
        where=where - {"slot"} if target.slot is None else where,
        version=releases.version_of(stack, target.release),
    )
    return evaluate(results, stack.gate.pass_score)


def process_trouble(target: Target) -> str | None:  # noqa: PLR0911 (one for each trouble)
    """Return what is wrong with the slot's process; None when it runs and never restarted."""
    if target.slot is None:
        return None
    now = driver(target.stack).show(target.stack, (target.slot,))[target.slot]
    if now["job"] is not None:
        return None  # systemd has not even begun to start it
    if now["active"] in ("failed", "inactive", "deactivating"):
        return f"the process is gone ({now['active']}, result {now['result']})"
    if now["restarts"] > target.restarts or now["sub"] == "auto-restart":
        return f"the process died and was restarted ({now['restarts']} times)"
    if now.get("health") == "unhealthy":
        return "its own health check says unhealthy"
    if target.pid is not None and now["main_pid"] not in (None, target.pid):
        return f"the process changed (pid {target.pid}, now {now['main_pid']})"
    return None


def wait_ready(target: Target, stage: str, timeout: float, still: Still) -> float:
    """Wait until the slot answers on its port, or runs if it has none; return the seconds it took.

    still: called each round, raises to end the wait. Raises HostError(gate): the process died or
    `timeout` seconds went by.
    """
    if target.slot is None:
        return 0.0
    started = asked = time.monotonic()
    while not _ready(target, target.slot):
        still()
        now = time.monotonic()
        if now - asked >= ASK_SYSTEMD_EVERY:
            asked = now
            trouble = process_trouble(target)
            if trouble:
                raise target.failure(stage, trouble)
        if now - started > timeout:
            raise target.failure(stage, f"{_wanted(target)} within {timeout:g} s")
        time.sleep(PORT_POLL if target.stack.kind == "slots" else CONTAINER_POLL)
    return round(time.monotonic() - started, 3)


def _ready(target: Target, slot: str) -> bool:
    stack, drv = target.stack, driver(target.stack)
    if stack.kind == "container":
        return bool(drv.show(stack, (slot,))[slot]["active"] == "active")
    address = drv.address(stack, slot)
    if address is None:
        return False
    host, port = address
    # A container's address is its own; a unit's is always loopback.
    return slots.port_open(port) if host == LOOPBACK else slots.port_open(port, host)


def _wanted(target: Target) -> str:
    address = driver(target.stack).address(target.stack, str(target.slot))
    return "it did not run" if address is None else f"port {address[1]} did not answer"


def wait_healthy(
    target: Target,
    stage: str,
    *,
    where: set[str],
    min_healthy: float,
    timeout: float,
    still: Still,
) -> dict[str, Any]:
    """Repeat the checks until enough rounds in a row passed, over `min_healthy` seconds.

    Returns {gate: GateResult, rounds, seconds}. Raises HostError(gate) when the process died or
    `timeout` seconds went by: naming the check, its answer and the last log lines.
    """
    settings = target.stack.gate
    started = time.monotonic()
    passes, rounds, healthy_since = 0, 0, 0.0
    while True:
        still()
        round_started = time.monotonic()
        gate = check_once(target, where)
        rounds += 1
        trouble = process_trouble(target)
        if trouble:
            raise target.failure(stage, trouble, gate)
        now = time.monotonic()
        if not gate["passed"]:
            if passes or rounds == 1:
                say(f"{stage}: not healthy yet: {explain(gate)[:300]}")
            passes = 0
        else:
            healthy_since = healthy_since if passes else round_started
            passes += 1
            if passes >= settings.consecutive and now - healthy_since >= min_healthy:
                seconds = round(now - started, 3)
                say(f"{stage}: healthy, {passes} rounds in a row")
                return {"gate": gate, "rounds": rounds, "seconds": seconds}
        if now - started > timeout:
            why = f"only {passes} rounds in a row passed" if gate["passed"] else f"{explain(gate)}"
            raise target.failure(stage, f"{why} (after {timeout:g} s)", gate)
        time.sleep(max(0.0, round_started + settings.interval - time.monotonic()))
