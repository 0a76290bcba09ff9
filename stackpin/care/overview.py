"""A whole inventory in one document: every stack on every host, as the hosts answer now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyinfra.api.host import Host

from stackpin.care.history import collate, live_run
from stackpin.care.status import summarise
from stackpin.config.stacks import STACKS, Stack
from stackpin.engine.session import Session, open_session
from stackpin.engine.state import load_inventory, select_hosts
from stackpin.errors import Refused, StackpinError
from stackpin.evidence.listing import entries
from stackpin.redact import redact_value
from stackpin.rollout.model import whoami

__all__ = ["exit_code", "overview"]

TIMEOUT = 180.0
RUNS = 5  # of each part on each host
REPORTS = 20  # of the inventory
QUESTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("state", {}),
    ("verify", {"where": ["slot", "host"]}),
    ("inspect", {}),
)


def overview(
    inventory: str, limit: Sequence[str], data: Mapping[str, Any], evidence: Path
) -> dict[str, Any]:
    """Return {version, inventory, created, who, hosts, reports}; one SSH exec per host.

    `hosts`: {host, error, machine, stacks}, each stack {stack, error, gate, findings, runs} and the
    entries of care.status.HostStatus; a host out of reach has `error` and its stacks unasked.
    `reports`: the newest records of `evidence`. Secrets are replaced. Raises Refused where the
    inventory or `limit` is wrong or no stack is pinned.
    """
    loaded = load_inventory(inventory, data)
    chosen = {host.name: _parts(host) for host in select_hosts(loaded, limit, inventory)}
    hosts = {name: parts for name, parts in chosen.items() if parts}
    if not hosts:
        raise Refused(f"{inventory}: no host has a stack; pin one, such as crm_version")
    with ExitStack() as opened:
        try:
            session = opened.enter_context(open_session(inventory, list(hosts), data, partial=True))
            answers = session.map(lambda name: _ask(session, name, hosts[name]))
            errors: dict[str, str] = {name: str(error) for name, error in answers.errors.items()}
            errors |= {name: one.message for name, one in session.problems.items()}
            found = answers.values
        except StackpinError as error:  # not one of them can be reached
            lines = str(error).splitlines()
            own = {name: [line for line in lines if line.startswith(name)] for name in hosts}
            errors = {name: "\n".join(own[name] or lines) for name in hosts}
            found = {}
    values = {host.name: dict(host.data.dict()) for host in loaded}  # type: ignore[no-untyped-call]
    document = {
        "version": 1,
        "inventory": Path(inventory).stem,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "who": whoami(),
        "hosts": [
            _host(name, parts, values[name], found.get(name), errors.get(name))
            for name, parts in hosts.items()
        ],
        "reports": _reports(evidence, Path(inventory).stem),
    }
    return redact_value(document)  # type: ignore[no-any-return]


def exit_code(document: Mapping[str, Any]) -> int:
    """Return 1 where somebody could not be asked, 5 where a required gate does not pass, or 0."""
    hosts = document["hosts"]
    stacks = [one for host in hosts for one in host["stacks"]]
    if any(host["error"] for host in hosts) or any(one["error"] for one in stacks):
        return 1
    return 5 if any(one["healthy"] is False and one["required"] for one in stacks) else 0


def _parts(host: Host) -> list[Stack]:
    """Return the parts `host` has by its groups and pins; those without a pin may not be there."""
    variables = dict(host.data.dict())  # type: ignore[no-untyped-call]
    having = [one for one in STACKS.values() if not one.parts and one.applies_to(host.groups)]
    pinned = [one for one in having if one.version_variable in variables]
    return pinned and [one for one in having if one in pinned or one.version_variable is None]


def _ask(session: Session, host: str, parts: Sequence[Stack]) -> dict[str, dict[str, Any]]:
    """Return by part the answers to QUESTIONS, each a document or an exception."""
    calls = [(name, part.name, payload) for part in parts for name, payload in QUESTIONS]
    answers = iter(session.many(host, calls, timeout=TIMEOUT))
    return {part.name: {name: next(answers) for name, _ in QUESTIONS} for part in parts}


def _host(
    name: str,
    parts: Sequence[Stack],
    variables: Mapping[str, Any],
    answers: Mapping[str, Mapping[str, Any]] | None,
    error: str | None,
) -> dict[str, Any]:
    stacks, machine = [], None
    for part in parts:
        pin = variables.get(part.version_variable or "")
        told = (answers or {}).get(part.name) or {}
        state = told.get("state")
        if part.version_variable is None and not (isinstance(state, dict) and state["installed"]):
            continue
        stacks.append(_stack(name, part, None if pin is None else str(pin), told))
        machine = machine or (state.get("machine") if isinstance(state, dict) else None)
    return {"host": name, "error": error, "machine": machine, "stacks": stacks}


def _stack(host: str, part: Stack, pin: str | None, told: Mapping[str, Any]) -> dict[str, Any]:
    state, gate, seen = (told.get(name) for name, _ in QUESTIONS)
    if not isinstance(state, dict):
        status = summarise(host, {}, pin=pin).as_json()
        unasked = {"release": "not asked", "error": str(state or "")}
        return {**status, **unasked, "stack": part.name, "gate": None, "findings": [], "runs": []}
    serves = bool(state.get("live_release"))
    gate_found = gate if isinstance(gate, dict) and serves else None
    # What serves nothing has no health; its state already says so.
    failed = [one for one in (gate, seen) if isinstance(one, Exception) and serves]
    status = summarise(host, state, pin=pin, gate=gate_found).as_json()
    runs = [one for one in collate(host, state.get("journal") or [], live_run(state)) if one.run]
    return {
        **status,
        "stack": part.name,
        "error": "; ".join(str(one) for one in failed),
        "gate": gate_found,
        "findings": list(seen.get("findings") or []) if isinstance(seen, dict) else [],
        "runs": [one.as_json() for one in runs[-RUNS:]],
    }


def _reports(root: Path, inventory: str) -> list[dict[str, Any]]:
    """Return the newest records, newest first; `report` is the page's path, None without one."""
    found = []
    for entry in reversed(entries(root, inventory)[-REPORTS:]):
        about = entry.manifest
        page = entry.path / "report.html"
        found.append(
            {
                "path": str(entry.path),
                "report": str(page) if page.is_file() else None,
                "problem": entry.problem,
                **{
                    key: about.get(key)
                    for key in ("stack", "command", "release_version", "outcome", "exit_code")
                },
                **{key: about.get(key) for key in ("created", "who")},
            }
        )
    return found
