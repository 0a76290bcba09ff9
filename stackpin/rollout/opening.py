"""The stages before anything is switched: load, check, connect, lock, preflight, plan, approve."""

from __future__ import annotations

from operations.releases import ENDED
from stackpin.engine.plan import load_plan, make_plan
from stackpin.engine.state import load_inventory, select_hosts
from stackpin.errors import Refused, StackpinError
from stackpin.rollout.checking import check_inventory
from stackpin.rollout.connecting import connect
from stackpin.rollout.heartbeats import agree
from stackpin.rollout.lease import Lease
from stackpin.rollout.model import Roll, Run
from stackpin.rollout.preflighting import ask_hosts, complain
from stackpin.rollout.pulling import pull

__all__ = ["OPENING", "approve", "check", "load", "lock", "plan", "preflight"]

RECOVER_TIMEOUT = 300.0


def load(run: Run) -> Run:
    """Read the inventory and the plan file; refuse missing ones and unknown hosts."""
    inventory = load_inventory(run.request.inventory, run.request.data)
    select_hosts(inventory, run.request.limit, run.request.inventory)
    if run.request.plan_file:
        load_plan(run.request.plan_file)
    return run


def check(run: Run) -> Run:
    """Validate variables, secrets and artifacts of every host."""
    request = run.request
    checked = check_inventory(
        request.inventory, request.stack, request.limit, request.data, progress=run.progress.say
    )
    run.settings, run.artifacts, run.images = checked.settings, checked.artifacts, checked.images
    return run


def lock(run: Run) -> Run:
    """Take the lease of every part on every host, or of none; clean up after a dead run."""
    request = run.request
    reason = request.reason or f"{request.command} {run.versions()}".strip()
    ttl = min(
        float(part.shared.lock_ttl) for parts in run.settings.values() for part in parts.values()
    )
    lease = Lease(run.session, run.places, reason, ttl, run.token, looks=True)
    lease.take(run.session.hosts, request.wait_lock, run.progress)
    run.lease = lease
    run.session.map(lambda host: _recover(run, host)).all()
    return run


def _recover(run: Run, host: str) -> None:
    """Let `host` finish or take back what a killed run left, so that the plan sees the outcome."""
    parts = run.places[host]
    states = run.session.many(host, [("state", part, {}) for part in parts])
    for part, state in zip(parts, states, strict=True):
        if isinstance(state, StackpinError):
            raise state
        run.machines.setdefault(host, state.get("machine") or {})
        left = (state.get("run") or {}).get("stage", "retired")
        if not state.get("installed") or (left in ENDED and not state.get("pending")):
            continue
        told = run.session.call(host, "recover", part, timeout=RECOVER_TIMEOUT)
        if told.get("recovered"):
            run.progress.say(
                f"{host}: {part}: recovered run {told.get('run')} ({told.get('why')}): "
                f"{told.get('stage')}"
            )


def preflight(run: Run) -> Run:
    """Ask every host whether this could work."""
    complain(ask_hosts(run.session, run.settings, run.artifacts, run.parts, run.data))
    return run


def plan(run: Run) -> Run:
    """Work out what would change; with --plan refuse unless it is exactly what was reviewed."""
    run.planned = make_plan(run.session, run.request.stack.name, run.parts, run.data, run.places)
    if run.request.plan_file:
        reviewed = load_plan(run.request.plan_file)
        if reviewed.get("digest") != run.plan.digest:
            differences = list(run.plan.differences(reviewed))
            told = "\n  ".join(differences[:20] or ["the file was edited"])
            raise Refused(
                f"{run.request.plan_file}: not what would be done now:\n  {told}\n"
                "Make a new plan with `plan --out`, review it, and deploy that one."
            )
    for part in run.parts:
        for host in run.hosts_of(part):
            releases = run.plan.hosts[host].releases[part]
            roll = Roll(host, part, releases["now"], releases["wanted"])
            changes = run.plan.changes(host, part)
            roll.anew = any(one["kind"] == "release" for op in changes for one in op.changes)
            if not changes:
                roll.outcome = "in-sync"
            run.rolls.append(roll)
    return agree(run)


def approve(run: Run) -> Run:
    """Let the user agree; a reviewed plan file is agreement, and no change needs none."""
    if any(roll.alive and roll.outcome != "in-sync" for roll in run.rolls) and (
        run.request.plan_file is None
    ):
        run.approve(run)
    return run


OPENING = (load, check, connect, lock, preflight, plan, approve, pull)
