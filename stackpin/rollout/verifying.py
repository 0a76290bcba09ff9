"""The health gate alone: the host's checks and the public ones, once, nothing changed."""

from __future__ import annotations

from functools import partial
from typing import Any

from stackpin.errors import Refused
from stackpin.host.gate import evaluate, explain
from stackpin.rollout.checking import check_inventory
from stackpin.rollout.connecting import connect
from stackpin.rollout.model import Roll, Run
from stackpin.rollout.outside import look_outside

__all__ = ["verify_all", "verify_host", "verify_roll"]

TIMEOUT = 120.0


def verify_host(run: Run, roll: Roll, release: str | None) -> dict[str, Any]:
    """Ask every check of one part on one host once; return one GateResult over all of them.

    Public answers are noted on the roll, unless it has those from before its confirmation.
    """
    host, part = roll.host, roll.part
    answer = run.session.call(host, "verify", part, {"where": ["slot", "host"]}, timeout=TIMEOUT)
    public = look_outside(run, roll, release)
    roll.public = roll.public or public
    results = [*answer["results"], *(public["results"] if public else [])]
    gate = evaluate(results, float(answer.get("threshold", 0.75)))
    return {**gate, "log": answer.get("log", [])}


def verify_roll(run: Run, roll: Roll) -> None:
    """Verify what serves on one host and note it on the roll; a failure is code 5: look now."""
    run.progress.host(roll.host, "verify", "run")
    roll.checks = verify_host(run, roll, roll.now)
    if roll.checks["passed"]:
        run.progress.host(roll.host, "verify", "ok")
        return
    roll.code = 5
    roll.error = f"the health gate does not pass: {explain(roll.checks)}"
    roll.detail = {"gate": roll.checks}
    run.progress.host(roll.host, "verify", "fail", roll.error)


def verify_all(run: Run) -> None:
    """Verify every part on the hosts that have it; notes results as rolls. Close `run.exits` after.

    Raises Refused when a host has nothing live to verify.
    """
    request = run.request
    checked = check_inventory(
        request.inventory, request.stack, request.limit, request.data, artifacts=False
    )
    run.settings = checked.settings
    connect(run)
    for part in run.parts:
        rolls = {}
        for host, state in (
            run.session.map(partial(_state, run, part), run.hosts_of(part)).all().items()
        ):
            live = state.get("live_release")
            if not live:
                raise Refused(f"{host}: {part} serves nothing yet; deploy it first")
            rolls[host] = Roll(host, part, live, live)
        run.rolls += rolls.values()
        run.session.map(lambda host, rolls=rolls: verify_roll(run, rolls[host]), list(rolls)).all()  # type: ignore[misc]


def _state(run: Run, part: str, host: str) -> dict[str, Any]:
    return run.session.call(host, "state", part)
