"""The stages of one batch, from backup to retire. Each works on hosts that are still alive."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from stackpin.config.hoststack import HostStack
from stackpin.config.stacks import STACKS
from stackpin.engine.apply import apply as apply_files
from stackpin.engine.remote import RemoteError, RemoteGate
from stackpin.rollout.heartbeats import watch
from stackpin.rollout.model import Roll, Run
from stackpin.rollout.outside import wait_outside

__all__ = ["ROLLING", "SWITCHING", "Stage"]

MARGIN = 60.0
BACKUP_TIMEOUT = 1800.0
# A declared step is tried on a restored copy of the database, then run on the live one.
TABLES_TIMEOUT = 1800.0
# Seconds the guard must still have when public checks stop, so that confirming is in time.
CONFIRM_RESERVE = 8.0

Stage = Callable[[Run, Sequence[Roll]], dict[str, Exception]]


def backup(run: Run, rolls: Sequence[Roll]) -> dict[str, Exception]:
    """Back up every host that has something to lose, before the first change to it.

    Parts that share their data have one keeper, which backs it up for all of them, once in a run.
    """

    def one(roll: Roll) -> None:
        keeper = STACKS[roll.part].keeper or roll.part
        own = run.settings[roll.host].get(keeper)
        if (roll.host, keeper) in run.backed_up or (own and own.host_stack().backup is None):
            return
        release = roll.now if keeper == roll.part else _live(run, roll.host, keeper)
        if release is None:
            return
        payload = {"release": release, "reason": f"before {run.request.command}", "tags": [run.id]}
        run.session.call(
            roll.host,
            "backup",
            keeper,
            payload,
            timeout=BACKUP_TIMEOUT,
            on_line=lambda text: run.progress.host(roll.host, "backup", "line", text),
        )
        run.backed_up.add((roll.host, keeper))

    return _each(run, rolls, "backup", one)


def _live(run: Run, host: str, part: str) -> str | None:
    return run.session.call(host, "state", part).get("live_release")


def apply(run: Run, rolls: Sequence[Roll]) -> dict[str, Exception]:
    """Lay down files and the release on the whole batch; nothing is switched by it."""
    part = rolls[0].part
    begun = time.monotonic()
    # Where hosts may fail, one that does must not stop the operations of the others.
    percent = 100 if run.request.max_failures else 0
    hosts = [roll.host for roll in rolls]
    done = apply_files(run.session, hosts, part, run.parts[part], run.data, fail_percent=percent)
    errors: dict[str, Exception] = {}
    for roll in rolls:
        applied = done[roll.host]
        roll.changed = applied.changed
        run.timed(roll.timings, "apply", begun)
        if applied.failure:
            errors[roll.host] = RemoteError(roll.host, applied.failure)
        elif not roll.switches:
            roll.outcome = "changed"
    return errors


def begin(run: Run, rolls: Sequence[Roll]) -> dict[str, Exception]:
    """Open the run on the host; whatever an earlier one left is recovered by it."""

    def one(roll: Roll) -> None:
        payload = {
            "release": roll.wanted,
            "who": run.who,
            "reason": run.request.reason,
            "mode": "operator",
            "rehearse": run.request.rehearse,
            "command": run.request.command,
        }
        # Set first: a lost answer does not tell that nothing was begun.
        roll.begun = True
        answer = _call(run, roll, "begin", payload, timeout=180.0)
        roll.first = bool(answer.get("first"))

    return _each(run, rolls, "begin", one)


def rehearse(run: Run, rolls: Sequence[Roll]) -> dict[str, Exception]:
    """Start the new release against a copy of the database and gate it."""
    return _plain(run, rolls, "rehearse")


def start(run: Run, rolls: Sequence[Roll]) -> dict[str, Exception]:
    """Start the new release in the idle slot."""
    for roll in rolls:
        stack = _host_stack(run, roll)
        if not stack.overlap:
            # The old one stops first, so the host arms its guard here already.
            roll.deadline = time.monotonic() + stack.guard_seconds
    return _plain(run, rolls, "start")


def gate(run: Run, rolls: Sequence[Roll]) -> dict[str, Exception]:
    """Prove the idle slot healthy."""
    return _plain(run, rolls, "gate")


def switch(run: Run, rolls: Sequence[Roll]) -> dict[str, Exception]:
    """Arm the guard and send traffic to the new slot."""

    def one(roll: Roll) -> None:
        # Where a container goes, it goes within the drain time.
        answer = _call(run, roll, "switch", timeout=MARGIN + _host_stack(run, roll).drain_seconds)
        roll.token = answer.get("token")
        # Our own clock, started before the answer is used: the host's may differ.
        roll.deadline = time.monotonic() + float(
            answer.get("seconds") or _host_stack(run, roll).guard_seconds
        )

    return _each(run, rolls, "switch", one)


def probe(run: Run, rolls: Sequence[Roll]) -> dict[str, Exception]:
    """Probe the slot that is live now, and the host's own checks."""
    return _plain(run, rolls, "probe")


def public(run: Run, rolls: Sequence[Roll]) -> dict[str, Exception]:
    """Ask from outside, again until it is healthy or the guard's time runs short.

    That is the public address, or for a node whether the server sees its new agent beat.
    """
    seen = watch(run, rolls[0].part)
    if seen:
        seen.begin()

    def one(roll: Roll) -> None:
        left = (roll.deadline or time.monotonic()) - time.monotonic() - CONFIRM_RESERVE
        roll.public = wait_outside(run, roll, seen, left)
        if roll.public and not roll.public["passed"]:
            what = "no heartbeat in time" if seen else "public checks failed"
            got = "; ".join(r["got"] for r in roll.public["results"] if not r["ok"])
            told = f"{what}: {got}" if seen else what
            raise RemoteGate(roll.host, told, {"gate": roll.public})

    return _each(run, rolls, "public", one)


def confirm(run: Run, rolls: Sequence[Roll]) -> dict[str, Exception]:
    """Come in through a new SSH connection and disarm the guard."""

    def one(roll: Roll) -> None:
        payload = {"run": run.id, "token": roll.token}
        with run.session.fresh(roll.host) as remote:
            remote.call("confirm", roll.part, payload, timeout=MARGIN)
        # Whatever happens from here on: the new release serves.
        roll.confirmed, roll.outcome = True, "serving"

    return _each(run, rolls, "confirm", one)


def retire(run: Run, rolls: Sequence[Roll]) -> dict[str, Exception]:
    """Drain and stop the old slot, remove old releases."""

    def one(roll: Roll) -> None:
        _call(run, roll, "retire", {}, timeout=_timeout(_host_stack(run, roll), "retire"))
        roll.retired = True

    return _each(run, rolls, "retire", one)


SWITCHING: tuple[Stage, ...] = (
    begin,
    rehearse,
    start,
    gate,
    switch,
    probe,
    public,
    confirm,
    retire,
)
ROLLING: tuple[Stage, ...] = (backup, apply, *SWITCHING)


def _plain(run: Run, rolls: Sequence[Roll], command: str) -> dict[str, Exception]:
    def one(roll: Roll) -> None:
        _call(run, roll, command, {}, timeout=_timeout(_host_stack(run, roll), command))

    return _each(run, rolls, command, one)


def _call(
    run: Run,
    roll: Roll,
    command: str,
    payload: dict[str, Any] | None = None,
    *,
    timeout: float,
) -> dict[str, Any]:
    def line(text: str) -> None:
        run.progress.host(roll.host, command, "line", text)

    whole = {"run": run.id, **(payload or {})}
    return run.session.call(roll.host, command, roll.part, whole, timeout=timeout, on_line=line)


def _each(
    run: Run, rolls: Sequence[Roll], stage: str, work: Callable[[Roll], None]
) -> dict[str, Exception]:
    """Do `work` for all rolls at the same time; return the errors by host."""
    by_host = {roll.host: roll for roll in rolls}

    def one(host: str) -> None:
        roll = by_host[host]
        roll.stage = stage
        begun = time.monotonic()
        run.progress.host(host, stage, "run")
        try:
            work(roll)
        except Exception:
            run.progress.host(host, stage, "fail")
            raise
        finally:
            run.timed(roll.timings, stage, begun)
        run.progress.host(host, stage, "ok")

    return run.session.map(one, list(by_host)).errors


def _host_stack(run: Run, roll: Roll) -> HostStack:
    return run.settings[roll.host][roll.part].host_stack()


def _timeout(stack: HostStack, command: str) -> float:
    """Seconds to wait for a stage: what the host allows itself, and a margin."""
    gate_time = stack.gate.settle + max(stack.gate.timeout, stack.gate.min_healthy)
    tables = TABLES_TIMEOUT if stack.tables and stack.tables.command else 0.0
    needs = {
        "rehearse": stack.start_timeout + gate_time + 2 * MARGIN + tables,
        "start": stack.drain_seconds + stack.start_timeout + MARGIN + tables,
        "gate": gate_time + MARGIN,
        "probe": gate_time + MARGIN,
        "retire": stack.drain_seconds + 2 * MARGIN,
    }
    return math.ceil(needs.get(command, MARGIN))
