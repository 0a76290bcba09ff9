"""Ask a stack's hosts everything that tells why it does not work: one exec per host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stackpin.care.diagnosis import Place, Problem, diagnose, ranked, unreachable
from stackpin.care.parts import service_name, shares_hosts
from stackpin.config import stacks
from stackpin.config.common import StackSettings
from stackpin.engine.remote import RemoteError
from stackpin.engine.session import open_session
from stackpin.errors import StackpinError
from stackpin.redact import redact_value
from stackpin.rollout.checking import check_inventory
from stackpin.rollout.model import Request, Roll, Run
from stackpin.rollout.preflighting import questions
from stackpin.rollout.progress import Silent
from stackpin.rollout.verifying import verify_host

__all__ = ["Examination", "examine"]

TIMEOUT = 180.0
ASKED: dict[str, dict[str, Any]] = {
    "state": {"journal": 50},
    "inspect": {},
    "verify": {"where": ["slot", "host"]},
    "preflight": {},
    "clues": {},
}
Told = dict[str, dict[str, dict[str, Any]]]  # by part and question


@dataclass
class Examination:
    """What was asked and what it means: `hosts` by host, part and question; `away` by host."""

    hosts: dict[str, Told] = field(default_factory=dict)
    away: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def unasked(self) -> bool:
        """Whether anything is unknown because a host did not answer."""
        parts = [part for told in self.hosts.values() for part in told.values()]
        return bool(self.away) or any("error" in part["state"] for part in parts)


def examine(
    inventory: str, stack: str, limit: Sequence[str], data: Mapping[str, Any]
) -> Examination:
    """Ask every host and rank what is wrong; secrets are replaced in all of it.

    Hosts out of reach are in `away`. Raises Refused where the question itself is wrong: inventory,
    stack, --limit or variables.
    """
    chosen = stacks.stack(stack)
    settings = check_inventory(inventory, chosen, limit, data, artifacts=False).settings
    run = Run(
        Request("doctor", inventory, chosen, tuple(limit), data=data), Silent(), lambda _: None
    )
    run.settings = settings
    found = Examination()
    with run.exits:
        try:
            run.opened = run.exits.enter_context(
                open_session(inventory, limit, data, partial=True, stack=chosen, witness=True)
            )
        except StackpinError as error:  # not one of them can be reached
            found.away = _each(settings, str(error))
        else:
            found.away = {name: one.message for name, one in run.session.problems.items()}
            asked = run.session.map(lambda host: _ask(run, host))
            found.hosts = asked.values
            found.away |= {host: str(error) for host, error in asked.errors.items()}
    found.hosts, found.away = redact_value(found.hosts), redact_value(found.away)
    found.problems = ranked(_judge(inventory, stack, settings, found))
    return found


def _each(hosts: Mapping[str, object], text: str) -> dict[str, str]:
    """Share out what was said of several hosts: each line begins with the name of one."""
    lines = text.splitlines()
    return {
        host: "\n".join([line for line in lines if line.startswith(f"{host}:")] or lines)
        for host in hosts
    }


def _ask(run: Run, host: str) -> Told:
    parts = run.settings[host]
    preflight = questions(host, parts, {})
    calls = [
        (name, part, preflight[part] if name == "preflight" else payload)
        for part in parts
        for name, payload in ASKED.items()
    ]
    answers = iter(run.session.many(host, calls, timeout=TIMEOUT))
    told = {part: {name: _plain(next(answers)) for name in ASKED} for part in parts}
    for part, answer in told.items():
        _look_outside(run, host, part, answer)
    return told


def _plain(answer: dict[str, Any] | RemoteError) -> dict[str, Any]:
    return {"error": str(answer)} if isinstance(answer, RemoteError) else answer


def _look_outside(run: Run, host: str, part: str, told: dict[str, dict[str, Any]]) -> None:
    """Add the public checks to the answer of `verify`, as that command does."""
    live = told["state"].get("live_release")
    if not live or "error" in told["verify"]:
        return
    try:
        gate = verify_host(run, Roll(host, part, live, live), live, told["verify"])
    except StackpinError as error:
        told["outside"] = {"error": str(error)}
    else:
        told["verify"] = {**told["verify"], **gate}


def _judge(
    inventory: str,
    stack: str,
    settings: Mapping[str, Mapping[str, StackSettings]],
    found: Examination,
) -> list[Problem]:
    problems = []
    for host, parts in settings.items():
        for number, part in enumerate(parts):
            named = service_name(stack, part) if shares_hosts(stack) else ""
            service = named if stacks.STACKS[part].keeper else ""
            place = Place(inventory, stack, host, part, service, first=number == 0)
            if host in found.away:
                problems.append(unreachable(place, found.away[host]))
                break
            if host in found.hosts:
                pin = getattr(parts[part], "version", None)
                problems += diagnose(place, found.hosts[host][part], pin and str(pin))
    return problems
