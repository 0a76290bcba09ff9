"""The state of a node, computed from facts and heartbeats. A pure function, no I/O.

The status the server's API shows is not used: it can say neither "updating" nor "outdated", and it
says "online" of an agent that runs the wrong version.
"""

from __future__ import annotations

from dataclasses import dataclass

from stackpin.fleet.model import Node, Want

__all__ = ["STATES", "Judged", "judge"]

PENDING, DEPLOYING, ONLINE = "pending", "deploying", "online"
UPDATING, OUTDATED, OFFLINE = "updating", "outdated", "offline"
STATES = (PENDING, DEPLOYING, ONLINE, UPDATING, OUTDATED, OFFLINE)


@dataclass(frozen=True)
class Judged:
    """A node's `state`, whether what it runs `differs` from what is wanted, and why in words."""

    state: str
    differs: bool
    reason: str


def judge(want: Want, node: Node, ttl: float) -> Judged:
    """Return the state of `node`; `ttl` is how old its heartbeat may be, in seconds.

    The first that applies: offline (not reachable), deploying and updating (somebody is at work),
    pending (no agent), offline (not running, no heartbeat), outdated, online.
    """
    if node.reachable is False:
        return Judged(OFFLINE, False, _unreachable(node, ttl))
    if not node.declared and not node.local:
        return _undeclared(node, ttl)
    wrong = _difference(want, node)
    return _at_work(node, wrong) or _settled(node, wrong, ttl)


def _at_work(node: Node, wrong: str) -> Judged | None:
    """Judge a node that somebody installs or updates just now; None for others."""
    if node.run_open:
        what = "its first install is under way" if node.first else "a rollout is under way"
        return Judged(DEPLOYING if node.first else UPDATING, True, _by(what, node))
    if node.lease and not node.installed:
        return Judged(DEPLOYING, True, _by("no agent yet, and somebody is at work", node))
    if node.lease and wrong:
        return Judged(UPDATING, True, _by(wrong, node))
    return None


def _settled(node: Node, wrong: str, ttl: float) -> Judged:
    if not node.installed:
        return Judged(PENDING, True, "no agent was deployed on it yet")
    if not node.running:
        return Judged(OFFLINE, True, "its agent's container does not run")
    silent = _silence(node, ttl)
    if silent:
        return Judged(OFFLINE, bool(wrong), "; ".join(filter(None, (silent, wrong))))
    if wrong:
        advice = "; it is updated with the server" if node.local else ""
        return Judged(OUTDATED, True, wrong + advice)
    return Judged(ONLINE, False, f"runs {node.version}, last heartbeat {_age(node)} ago")


def _undeclared(node: Node, ttl: float) -> Judged:
    """Judge a worker that only the server knows: nobody can look at what it runs."""
    silent = _silence(node, ttl)
    if silent and node.row_status in {"pending", "deploying"}:
        return Judged(PENDING, False, "registered at the server, never heard of; not in inventory")
    if silent:
        return Judged(OFFLINE, False, f"{silent}; not in the inventory")
    return Judged(OUTDATED, False, "beats, but is not in the inventory: what it runs is unknown")


def _difference(want: Want, node: Node) -> str:
    """Say how what `node` runs differs from `want`; "" when it does not."""
    if not node.installed:
        return ""
    if node.version != want.version:
        return f"runs {node.version or 'an unknown version'}, {want.version} is pinned"
    if node.local and node.digest is None:
        return ""  # the server's own facts speak for the agent that comes with it
    if want.digest and node.digest != want.digest and node.running:
        found = _short(node.digest) if node.digest else "an unknown digest"
        return f"runs {want.version} as {found}, {_short(want.digest)} is locked"
    return ""


def _silence(node: Node, ttl: float) -> str:
    if not node.beats_known:
        return "the server could not be asked for its heartbeat"
    if node.beat is None:
        return f"no heartbeat for {ttl:.0f} s or longer"
    if node.beat.age > ttl:
        return f"last heartbeat {_age(node)} ago"
    return ""


def _unreachable(node: Node, ttl: float) -> str:
    beats = node.beats_known and node.beat is not None and node.beat.age <= ttl
    also = f"; its agent still beats ({_age(node)} ago)" if beats else ""
    problem = node.problem.removeprefix(f"{node.name}: ")
    return f"{problem or 'it cannot be reached'}{also}"


def _age(node: Node) -> str:
    return f"{node.beat.age:.0f} s" if node.beat else "never"


def _by(what: str, node: Node) -> str:
    return f"{what} ({node.lease.owner})" if node.lease else what


def _short(digest: str) -> str:
    return digest[:19]  # "sha256:" and twelve digits, as docker shows them
