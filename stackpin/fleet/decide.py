"""Which nodes to update now. A pure function, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stackpin.fleet.backoff import Failure, due, target_of
from stackpin.fleet.model import Node, Observation
from stackpin.fleet.states import Judged, judge

__all__ = ["Decision", "Policy", "decide", "server_problem"]

# Outcomes that speak against the version itself, and not against the way to the node.
DAMNING = frozenset({"rolled-back", "failed", "unknown"})


@dataclass(frozen=True)
class Policy:
    """How bold to be.

    `batch` nodes at once; `install` also nodes that never had an agent; after more than
    `max_failures` nodes failed on a target no other node is tried on it.
    """

    batch: int = 1
    install: bool = False
    max_failures: int = 1


@dataclass(frozen=True)
class Decision:
    """`update` these nodes now; `waiting` says of every other one that differs why not.

    `halted` says why no node at all is updated, or only ones that failed before; "" otherwise.
    """

    states: Mapping[str, Judged]
    update: tuple[Node, ...] = ()
    waiting: Mapping[str, str] = field(default_factory=dict)
    halted: str = ""


def decide(
    seen: Observation, failures: Mapping[str, Failure], now: float, policy: Policy
) -> Decision:
    """Choose what to update at `now` (Unix seconds); `failures` are by node name.

    Only declared, reachable, remote nodes whose facts differ, that nobody works on and that are not
    backed off; never while the server itself is not what it should be.
    """
    states = {node.name: judge(seen.want, node, seen.ttl) for node in seen.nodes}
    target = target_of(seen.want)
    ready: list[Node] = []
    waiting: dict[str, str] = {}
    for node in seen.nodes:
        if not states[node.name].differs:
            if node.reachable is False:
                waiting[node.name] = "cannot be reached; tried again when it can"
            continue
        why = _obstacle(node, failures.get(node.name), target, now, policy)
        if why:
            waiting[node.name] = why
        else:
            ready.append(node)
    halted = server_problem(seen)
    if not halted:
        halted, ready = _halt(seen, failures, policy, ready, waiting)
    elif ready:
        waiting |= dict.fromkeys((node.name for node in ready), halted)
        ready = []
    ready.sort(key=lambda node: (_count(failures, node, target), node.name))
    chosen = tuple(ready[: max(0, policy.batch)])
    waiting |= dict.fromkeys((node.name for node in ready[len(chosen) :]), "in a later batch")
    return Decision(states, chosen, waiting, halted)


def server_problem(seen: Observation) -> str:
    """Say why no node may be updated against the server as it is; "" when nothing is wrong."""
    server = seen.server
    if server.problem:
        return server.problem
    if server.version != seen.want.version:
        return (
            f"{server.host}: the server runs {server.version or 'nothing'}, "
            f"{seen.want.version} is pinned: update it first"
        )
    if seen.wanted_server and server.digest and server.digest != seen.wanted_server:
        return f"{server.host}: the server's image is not the locked one: update it first"
    if not server.healthy:
        return f"{server.host}: the server is not healthy"
    return ""


def _obstacle(node: Node, failure: Failure | None, target: str, now: float, policy: Policy) -> str:
    if node.local:
        return "local node: its agent is updated with the server"
    if not node.declared or node.reachable is not True:
        return "not in the inventory"
    if node.run_open or node.lease:
        return "somebody is at work on it"
    if not node.installed and not policy.install:
        return "no agent yet: `stackpin workers add` installs one"
    if failure is not None and not due(failure, target, now):
        return f"backed off for {failure.left(now):.0f} s after {failure.failures} failure(s)"
    return ""


def _halt(
    seen: Observation,
    failures: Mapping[str, Failure],
    policy: Policy,
    ready: list[Node],
    waiting: dict[str, str],
) -> tuple[str, list[Node]]:
    """Keep untried nodes away from a version that failed on too many others."""
    target = target_of(seen.want)
    names = {node.name for node in seen.nodes}
    bad = {
        name
        for name, failure in failures.items()
        if name in names and failure.target == target and failure.kind in DAMNING
    }
    if len(bad) <= policy.max_failures:
        return "", ready
    halted = (
        f"{seen.want.version} failed on {len(bad)} nodes ({', '.join(sorted(bad)[:5])}): "
        "no other node is tried until one of them succeeds or the pin changes"
    )
    for node in ready:
        if node.name not in bad:
            waiting[node.name] = halted
    # One at a time: a single success lifts the halt.
    again = sorted(
        (node for node in ready if node.name in bad),
        key=lambda node: (_count(failures, node, target), node.name),
    )
    waiting |= dict.fromkeys((node.name for node in again[1:]), "in a later batch")
    return halted, again[:1]


def _count(failures: Mapping[str, Failure], node: Node, target: str) -> int:
    failure = failures.get(node.name)
    return failure.failures if failure and failure.target == target else 0
