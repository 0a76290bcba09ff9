"""Bringing a release to a host and making it the live one."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from pyinfra.api.command import PyinfraCommand, QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from facts.files import Tree
from facts.stacks import StackState
from operations.notes import Change, note
from operations.program import call
from operations.provenance import who
from operations.sending import sent
from stackpin.config.release import Release

# How a run on a host ends; any other stage is a run at work, or one that was killed.
ENDED = {"retired", "reverted", "failed", "broken"}


@operation()
def needs(stack: str, release: str, remedy: str) -> Generator[PyinfraCommand, None, None]:
    """Stop where `stack` does not have `release`, which what follows reads; change nothing.

    In a plan that is not known yet: the release may be what another part of the same run brings.
    """
    state = host.get_fact(StackState, stack=stack)
    if _complete(state, release):
        host.noop(f"{stack} has {release}")
        return
    note(Change("directory", f"{stack} {release}", None, "to be there"))
    yield StringCommand(
        "echo",
        QuoteString(f"{stack}: found no release {release}, expected it on this host. {remedy}"),
        ">&2; exit 1",
    )


@operation()
def activate(
    stack: str, release: Release, artifact: Path | bytes | None = None
) -> Generator[PyinfraCommand, None, None]:
    """Make `release`, whose one artifact is a local file or given bytes, what `stack` serves.

    An artifact the host already has is not sent again; a release of images has none: the host
    pulls them itself. It then rehearses, starts, gates, switches and, on any failure, goes back
    (`rollout`); with `stackpin_driver` set to "operator" that is left to the caller, who drives
    the host stage by stage. What a killed run left is finished or taken back first.
    """
    state = host.get_fact(StackState, stack=stack)
    live = state.get("live_release")
    operator = host.data.get("stackpin_driver") == "operator"
    if live == release.id and not state.get("pending"):
        left = (state.get("run") or {}).get("stage", "retired")
        # The operator's command has recovered already, when it took the lease.
        dead = left not in ENDED and not operator
        if dead:
            note(Change("service", f"{stack} run", f"left at {left}", "finished"))
            yield call("recover", stack, {})
        altered = bool(state.get("live_modified"))
        if altered:
            note(Change("file", f"{stack} release {live}", "altered on the host", "as released"))
            yield from _brought(stack, release, artifact)
        # What runs is not what was released: another image, other variables, other flags.
        changed = [str(name) for name in state.get("live_changed") or []]
        if changed:
            before = f"{live}, but {', '.join(changed)} not as released"
            note(Change("release", stack, before, release.id))
            yield _receive(stack, release)
            if not operator:
                yield _rollout(stack, release)
        elif _serving(state):
            if not dead and not altered:
                host.noop(f"{stack} serves {release.id}")
        else:
            note(Change("service", stack, "the live slot is not running", "running"))
            yield call("service", stack, {"action": "start"})
        return
    note(Change("release", stack, live, release.id))
    if _complete(state, release.id):
        yield _receive(stack, release)
    else:
        yield from _brought(stack, release, artifact)
    if not operator:
        yield _rollout(stack, release)


def _rollout(stack: str, release: Release) -> StringCommand:
    return call("rollout", stack, {"release": release.id, "who": who(), "reason": "pyinfra deploy"})


def _receive(stack: str, release: Release) -> StringCommand:
    return call(
        "receive",
        stack,
        {"release": release.as_json(), "env": release.env_text, "unit": release.unit_text},
    )


def _serving(state: Mapping[str, Any]) -> bool:
    slot = (state.get("slots") or {}).get(state.get("live_slot") or "")
    return not slot or slot.get("active") == "active"  # a stack of files has no slots


def _complete(state: Mapping[str, Any], release_id: str) -> bool:
    known = state.get("releases") or []
    return any(r.get("id") == release_id and r.get("complete") for r in known)


def _brought(
    stack: str, release: Release, artifact: Path | bytes | None
) -> Generator[PyinfraCommand, None, None]:
    """Send what the host lacks, and have it take the release in."""
    if artifact is not None:
        sha256 = release.artifact_sha256
        directory = f"/var/lib/stackpin/{stack}/incoming"
        arrived = f"{directory}/{sha256}"
        node = host.get_fact(Tree, paths=[arrived]).get(arrived)
        if node is None or node.sha256 != sha256:
            yield from sent(artifact, sha256, directory, _receive(stack, release))
            return
    yield _receive(stack, release)
