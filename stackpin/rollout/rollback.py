"""Going back: to the release the journal records as the last good one, or to a named one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from stackpin import pins
from stackpin.config.release import version_of
from stackpin.config.stacks import STACKS
from stackpin.errors import Refused
from stackpin.rollout.checking import check_inventory
from stackpin.rollout.connecting import connect
from stackpin.rollout.heartbeats import agree
from stackpin.rollout.model import Roll, Run
from stackpin.rollout.opening import approve, load, lock
from stackpin.rollout.performing import perform

__all__ = ["rollback", "target_release"]


def rollback(
    run: Run, *, say: Callable[[str], None], before: Sequence[Callable[[Run], Run]] = ()
) -> int:
    """Take `run` back on every host and return the exit code; see `perform`.

    `before` are further opening steps, done when the releases are chosen and nobody agreed yet.
    The pin follows when all hosts serve one version again, also when something failed after that
    (the old slot did not stop, say); `say` tells about it.
    """
    try:
        return perform(run, (load, check, connect, lock, choose, *before, approve))
    finally:
        if run.keeps_pin:
            _pin(run, say)


def _pin(run: Run, say: Callable[[str], None]) -> None:
    """Let the pin name what serves now, or the next deploy would bring back what was left."""
    request = run.request
    for part in request.stack.components():
        versions = {
            version_of(roll.wanted)
            for roll in run.rolls
            if roll.part == part.name and roll.wanted is not None
        }
        if part.version_variable is None or not versions:
            continue
        path = pins.pin_file(Path(request.inventory))
        try:
            old = pins.read(path, part.version_variable)
            place = f"{path}:{old.line}: {old.variable}"
            if versions == {old.value}:
                continue
            if request.limit or len(versions) > 1:
                say(
                    f"{place} stays {old.value}, since not every host may have gone back to one "
                    "version; the next deploy brings it to these hosts again"
                )
                continue
            version = versions.pop()
            pins.bump(path, part.version_variable, version)
            say(f"{place} {old.value} -> {version}")
        except Refused as error:
            say(f"the pin was not changed, change it by hand: {error}")


def check(run: Run) -> Run:
    """Validate variables and secrets; the artifact of the pin plays no part in going back."""
    request = run.request
    checked = check_inventory(
        request.inventory, request.stack, request.limit, request.data, artifacts=False
    )
    run.settings = checked.settings
    return run


def choose(run: Run) -> Run:
    """Decide for each host and part which release to return to.

    Hosts that are judged by another one go to the version that one goes to.
    """
    for part in run.parts:
        states = run.session.map(partial(_state, run, part), run.hosts_of(part)).all()
        version = _version_of_witness(run, part)
        for host, state in states.items():
            to = _same_version(state, version) if version else run.request.to
            run.rolls.append(_chosen(host, part, state, to))
    return agree(run)


def _state(run: Run, part: str, host: str) -> dict[str, Any]:
    return run.session.call(host, "state", part)


def _version_of_witness(run: Run, part: str) -> str | None:
    judge = STACKS[part].witness
    return next((version_of(r.wanted) for r in run.rolls if r.part == judge and r.wanted), None)


def _same_version(state: Mapping[str, Any], version: str) -> str:
    """Return the release of `version` that served here last, or `version` where that is unknown."""
    for known in (state.get("live_release"), state.get("last_good")):
        if known and version_of(str(known)) == version:
            return str(known)
    return version


def _chosen(host: str, part: str, state: Mapping[str, Any], to: str | None) -> Roll:
    """Return the roll of one host; a node with nothing to go to is left for the next deploy."""
    now = state.get("live_release")
    try:
        roll = Roll(host, part, now, target_release(host, part, state, to))
    except Refused as error:
        if not STACKS[part].tolerates_unreachable:
            raise
        told = f"{error}\nLeft as it is: the next deploy brings it to the pinned version."
        return Roll(host, part, now, None, outcome="skipped", code=2, error=told)
    if not roll.switches:
        roll.outcome = "in-sync"
    return roll


def target_release(host: str, part: str, state: Mapping[str, Any], to: str | None) -> str | None:
    """Return the release id to go to: `to` (an id or a version), else the last good one.

    `state` is the host's `state` answer. None for a part that has nothing else to go to while
    `to` names a release of another part. Raises Refused where there is none.
    """
    if not state.get("installed"):
        raise Refused(f"{host}: {part} is not installed; there is nothing to roll back")
    complete = [str(one["id"]) for one in state.get("releases", []) if one.get("complete")]
    if to is None:
        good = state.get("last_good")
        if not good:
            known = _listed(complete)
            raise Refused(
                f"{host}: the journal of {part} records no other good release; it has {known}: "
                "name one with --to"
            )
        return str(good)
    found = [release for release in complete if to in {release, version_of(release)}]
    if len(found) != 1:
        what = "several releases" if found else "no complete release"
        raise Refused(
            f"{host}: {part} has {what} {to}: found {_listed(found or complete)}, expected one; "
            "give --to the whole id"
        )
    return found[0]


def _listed(releases: Sequence[str]) -> str:
    return ", ".join(releases) or "none"
