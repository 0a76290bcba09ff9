"""The health gate alone: the host's checks and the public ones, once, nothing changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stackpin.engine.remote import RemoteError
from stackpin.engine.session import Mapped
from stackpin.errors import Refused
from stackpin.host.gate import evaluate, explain
from stackpin.rollout.checking import check_inventory
from stackpin.rollout.connecting import connect
from stackpin.rollout.model import Roll, Run
from stackpin.rollout.outside import look_outside

__all__ = ["overall", "prepare", "verify_all", "verify_host", "verify_roll", "verify_round"]

TIMEOUT = 120.0
WHERE = {"where": ["slot", "host"]}
QUESTIONS: dict[str, dict[str, Any]] = {"state": {}, "verify": WHERE}


def verify_host(
    run: Run, roll: Roll, release: str | None, answer: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Ask every check of one part on one host once; return one GateResult over all of them.

    `answer` is what the host said to `verify` already, if it was asked. Public answers are noted on
    the roll, unless it has those from before its confirmation.
    """
    host, part = roll.host, roll.part
    if answer is None:
        answer = run.session.call(host, "verify", part, WHERE, timeout=TIMEOUT)
    public = look_outside(run, roll, release)
    roll.public = roll.public or public
    results = [*answer["results"], *(public["results"] if public else [])]
    gate = evaluate(results, float(answer.get("threshold", 0.75)))
    return {**gate, "log": answer.get("log", []), "required": answer.get("required", True)}


def verify_roll(run: Run, roll: Roll, answer: Mapping[str, Any] | None = None) -> None:
    """Verify what serves on one host and note it on the roll; a failure is code 5: look now.

    That of a part which is not required is only told: the score of the whole host decides, which is
    asked with another part.
    """
    run.progress.host(roll.host, "verify", "run")
    roll.checks = verify_host(run, roll, roll.now, answer)
    if not (roll.checks["passed"] or roll.checks["required"]):
        told = f"{roll.host} {roll.part}: not healthy, and not required: {explain(roll.checks)}"
        run.notes.append(told)
    if roll.checks["passed"] or not roll.checks["required"]:
        run.progress.host(roll.host, "verify", "ok")
        return
    roll.code = 5
    roll.error = f"the health gate does not pass: {explain(roll.checks)}"
    roll.detail = {"gate": roll.checks}
    run.progress.host(roll.host, "verify", "fail", roll.error)


def prepare(run: Run) -> None:
    """Validate the inventory and connect; hosts that may be out of reach become rolls of the run.

    Close `run.exits` after.
    """
    request = run.request
    checked = check_inventory(
        request.inventory, request.stack, request.limit, request.data, artifacts=False
    )
    run.settings = checked.settings
    connect(run)


def verify_round(run: Run) -> Mapped[list[Roll]]:
    """Verify every part on every connected host, each asked with one exec; rolls by host.

    Refused, among the errors, is a host that has nothing live to verify.
    """

    def one(host: str) -> list[Roll]:
        parts = run.places[host]
        calls = [(name, part, load) for part in parts for name, load in QUESTIONS.items()]
        told = iter(run.session.many(host, calls, timeout=TIMEOUT))
        rolls = []
        for part in parts:
            state, answer = next(told), next(told)
            live = _given(state).get("live_release")
            if not live:
                raise Refused(f"{host}: {part} serves nothing yet; deploy it first")
            roll = Roll(host, part, live, live)
            verify_roll(run, roll, _given(answer))
            rolls.append(roll)
        return rolls

    return run.session.map(one, [host for host in run.session.hosts if host in run.settings])


def verify_all(run: Run) -> None:
    """Verify every part on the hosts that have it; notes results as rolls. Close `run.exits` after.

    Raises Refused when a host has nothing live to verify.
    """
    prepare(run)
    for rolls in verify_round(run).all().values():
        run.rolls += rolls


def overall(gates: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one GateResult over those of several parts: passed where every required one passed."""
    whole = evaluate(
        [result for gate in gates for result in gate["results"]],
        max((float(gate["threshold"]) for gate in gates), default=0.0),
    )
    failed = [gate for gate in gates if gate.get("required", True) and not gate["passed"]]
    return {**whole, "passed": not failed}


def _given(answer: dict[str, Any] | RemoteError) -> dict[str, Any]:
    if isinstance(answer, RemoteError):
        raise answer
    return answer
