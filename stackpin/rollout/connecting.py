"""Opening the session of a run, and what to do about hosts that cannot be reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stackpin.config.stacks import STACKS
from stackpin.engine.session import Session, open_session
from stackpin.errors import Refused
from stackpin.rollout.model import Roll, Run

__all__ = ["connect", "left_out"]


def connect(run: Run) -> Run:
    """Open an SSH connection to every host; refuse when one is missing that cannot be.

    A host all of whose parts may be left for the next run becomes a roll with the outcome
    "unreachable" instead. Hosts that only tell about others are connected as well.
    """
    request = run.request
    stack = request.stack
    run.opened = run.exits.enter_context(
        open_session(
            request.inventory,
            request.limit,
            request.data,
            partial=stack.tolerates_unreachable,
            stack=stack,
            witness=True,
        )
    )
    for host, message in left_out(run.session, run.places).items():
        run.rolls += [
            Roll(host, part, None, None, outcome="unreachable", code=2, error=message)
            for part in run.places[host]
        ]
        run.progress.say(f"left for the next run: {message}")
    return run


def left_out(session: Session, places: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return why, by host, for the unreachable hosts that may be left for the next run.

    `places` maps a host to its parts. Raises Refused for the others, naming every one.
    """
    refused = []
    found = {}
    for host, problem in session.problems.items():
        parts = places.get(host, ())
        if parts and all(STACKS[part].tolerates_unreachable for part in parts):
            found[host] = problem.message
        else:
            refused.append(problem.message)
    if refused:
        raise Refused("\n".join(refused))
    return found
