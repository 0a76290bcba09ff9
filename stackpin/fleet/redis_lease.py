"""A lease on a worker in the server's Redis, under the key the application itself uses.

The application takes `agent_update_lock:<id>` for 60 s before it updates an agent over SSH, does
not renew it and deletes it whoever holds it by then. Ours has a token: it is renewed while we work
and released only while it is ours.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import gevent

from stackpin.errors import StackpinError
from stackpin.fleet.model import Node, Outcome

__all__ = ["TTL", "Held", "key_of", "redis_leases"]

TTL = 60

Ask = Callable[[Mapping[str, Any]], Mapping[str, Any]]
# An update that was taken back for the sake of a lease says nothing about the version.
TAKEN_BACK = frozenset({"refused", "rolled-back", "failed"})


class Held:
    """Which nodes' leases we hold; `refused` and `lost` say by node name why not (any more).

    `taken_over` is called with a node's name and what happened when somebody else holds its lease
    now: from then on two work on that node.
    """

    def __init__(self, ask: Ask, ttl: float = TTL) -> None:
        self.token = secrets.token_hex(16)
        self.nodes: dict[str, Node] = {}
        self.refused: dict[str, str] = {}
        self.lost: dict[str, str] = {}
        self.taken_over: Callable[[str, str], None] = lambda _name, _why: None
        self._ask = ask
        self.ttl = ttl
        self._until: dict[str, float] = {}
        self._others: set[str] = set()

    def take(self, nodes: Sequence[Node]) -> None:
        """Take the lease of every node that is registered and free."""
        for node in nodes:
            if node.id is None:
                # Not known to the application yet, so it cannot be updating it.
                self.nodes[node.name] = node
                continue
            try:
                held = self._do("take", node)
            except StackpinError as error:
                self.refused[node.name] = f"{key_of(node)}: {error}"
                continue
            if held:
                self.nodes[node.name] = node
            else:
                self.refused[node.name] = f"{key_of(node)} is held by somebody else"

    def renew(self) -> None:
        """Renew all; one that is not ours any more is in `lost`.

        One that ran out and is free is taken again. A server that does not answer loses nothing
        until the time we have is over.
        """
        for name, node in self.nodes.items():
            if node.id is None or name in self._others:
                continue
            try:
                if self._do("renew", node):
                    continue
                free = self._do("take", node)
            except StackpinError as error:
                if time.monotonic() > self._until[name]:
                    self.lost[name] = f"{key_of(node)} could not be renewed in time: {error}"
                continue
            if free:
                self.lost[name] = f"{key_of(node)} ran out and was taken again"
                continue
            self.lost[name] = f"{key_of(node)} was taken over by somebody else"
            self._others.add(name)
            self.taken_over(name, self.lost[name])

    def release(self) -> None:
        """Give back what is ours; what cannot be given back runs out by itself."""
        for name, node in self.nodes.items():
            if node.id is None:
                continue
            try:
                if not self._do("release", node):
                    self.lost.setdefault(name, f"{key_of(node)} was not ours any more at the end")
            except StackpinError as error:
                if time.monotonic() > self._until[name]:
                    self.lost.setdefault(name, f"{key_of(node)}: {error}")
        self.nodes.clear()

    def told(self, outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
        """Return `outcomes` of nodes by name with what became of their leases.

        When a lease was taken over, the whole update was taken back: its nodes are "held" then.
        """
        why = "; ".join(sorted(self.lost[name] for name in self._others))
        found = {}
        for name, outcome in outcomes.items():
            found[name] = replace(outcome, lease=self.lost.get(name, ""))
            if why and outcome.kind in TAKEN_BACK:
                error = f"taken back, as {why} ({outcome.error})"
                found[name] = replace(found[name], kind="held", error=error)
        return found

    def _do(self, action: str, node: Node) -> bool:
        payload = {"action": action, "key": key_of(node), "token": self.token, "ttl": self.ttl}
        asked = time.monotonic()
        held = bool(self._ask(payload).get("held"))
        if held:
            self._until[node.name] = asked + self.ttl
        return held


def key_of(node: Node) -> str:
    """Return the application's own key for a worker."""
    return f"agent_update_lock:{node.id}"


@contextmanager
def redis_leases(ask: Ask, nodes: Sequence[Node], ttl: float | None = None) -> Iterator[Held]:
    """Hold the leases of `nodes` in this block, renewed every third of `ttl` (60) seconds.

    `ask` calls the host command `redis-lease` on the server. Nodes that are held by somebody else
    are in `refused`, and not in `nodes`.
    """
    held = Held(ask, ttl or TTL)
    heart = None
    try:
        held.take(nodes)
        heart = gevent.spawn(_beat, held, held.ttl / 3)
        yield held
    finally:
        if heart is not None:
            heart.kill()
        held.release()


def _beat(held: Held, every: float) -> None:
    while True:
        gevent.sleep(every)
        held.renew()
