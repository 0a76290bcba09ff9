"""Compare hosts with the declaration: what a plan would change and what the hosts find odd."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stackpin.care.fleet import ask_all
from stackpin.care.parts import parts_on
from stackpin.config import stacks
from stackpin.config.problems import ConfigProblems
from stackpin.drift.report import DriftReport, build
from stackpin.engine.deploys import explore
from stackpin.engine.gather.memory import Call
from stackpin.engine.plan import make_plan
from stackpin.engine.session import Session, open_session
from stackpin.errors import StackpinError
from stackpin.lockfile import uses_images
from stackpin.redact import redact_value
from stackpin.rollout.checking import check_inventory

__all__ = ["check_drift"]

INSPECT_TIMEOUT = 120.0


def check_drift(
    inventory: str, stack: str, limit: Sequence[str], data: Mapping[str, Any]
) -> DriftReport:
    """Return the drift of `stack`; a host that cannot be checked is in the report with its error.

    Raises Refused where the question itself is wrong: inventory, stack, --limit or variables.
    """
    settings = check_inventory(inventory, stacks.stack(stack), limit, data).settings
    wanted = list(settings)
    planned: dict[str, Any] = {}
    inspections: dict[str, Mapping[str, Any] | str] = {}
    with ExitStack() as opened:
        try:
            session = opened.enter_context(
                open_session(inventory, wanted, data, partial=True, stack=stacks.stack(stack))
            )
        except StackpinError as error:
            planned.update({name: {"error": str(error)} for name in wanted})
        else:
            _compare(session, stack, data, planned, inspections)
    notes: tuple[str, ...] = ()
    if any(uses_images(part) for parts in settings.values() for part in parts.values()):
        from stackpin.drift.moved import moved_tags  # noqa: PLC0415 - brings a registry's client

        moved = moved_tags(settings, Path.cwd())
        notes = moved.notes
        for host, seen in inspections.items():
            if not isinstance(seen, str):
                extra = moved.findings.get(host, [])
                inspections[host] = {**seen, "findings": [*seen["findings"], *extra]}
    return build(
        inventory=Path(inventory).stem,
        stack=stack,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        plan=redact_value({"hosts": planned}),
        inspections=redact_value(inspections),
        notes=redact_value(notes),
    )


def _compare(
    session: Session,
    stack: str,
    data: Mapping[str, Any],
    planned: dict[str, Any],
    inspections: dict[str, Mapping[str, Any] | str],
) -> None:
    """Fill `planned` and `inspections` for every host of `session`, reachable or not."""
    for host, problem in session.problems.items():
        planned[host] = {"error": problem.message}
    places = {host: parts_on(session, stack, host) for host in session.hosts}
    calls: dict[str, list[Call]] = {
        host: [(question, part, {}) for question in ("inspect", "state") for part in parts]
        for host, parts in places.items()
    }
    files = {part.name: part.deploys for part in stacks.stack(stack).components()}
    explore(session, files, data, places, calls)
    answers = ask_all(session, stack, {"inspect": {}}, timeout=INSPECT_TIMEOUT)["inspect"]
    for (host, part), error in answers.errors.items():
        inspections[host] = str(error) or type(error).__name__
        planned.setdefault(host, {"error": f"{part}: {inspections[host]}"})
    for host in session.hosts:
        found = [
            {**finding, "message": _named(part, stack, finding)}
            for part in parts_on(session, stack, host)
            if (host, part) in answers.values
            for finding in answers.values[host, part].get("findings") or []
        ]
        inspections.setdefault(host, {"findings": found})
    planned.update(_plans(session, stack, data))


def _named(part: str, stack: str, finding: Mapping[str, Any]) -> str:
    """Say which part of a composed stack a finding is about."""
    message = str(finding.get("message", ""))
    return message if part == stack else f"{part}: {message}"


def _plans(session: Session, stack: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return each host's plan; hosts are planned together, and one by one when that fails."""
    files = {part.name: part.deploys for part in stacks.stack(stack).components()}
    try:
        places = {host: parts_on(session, stack, host) for host in session.hosts}
        plan = make_plan(session, stack, files, data, places).to_json()
        return dict(plan["hosts"])
    except ConfigProblems:
        raise
    except StackpinError as error:
        if len(session.hosts) == 1:
            return {session.hosts[0]: {"error": str(error)}}
    # One host with a failing fact spoils the plan of all: ask again to see whose it is.
    found: dict[str, Any] = {}
    for host in session.hosts:
        # Reached a moment ago; should it be gone now, that is its own trouble only.
        try:
            with open_session(session.inventory, (host,), data) as alone:
                found.update(_plans(alone, stack, data))
        except ConfigProblems:
            raise
        except StackpinError as error:
            found[host] = {"error": str(error)}
    return found
