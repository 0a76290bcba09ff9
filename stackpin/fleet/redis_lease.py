"""A lease on a worker in the server's Redis, under the key the application itself uses.

The application takes `agent_update_lock:<id>` for 60 s before it updates an agent over SSH, does
not renew it and deletes it whoever holds it by then. Ours has a token: it is renewed while we work
and released only while it is ours.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import gevent

from stackpin.errors import StackpinError
from stackpin.fleet.model import Node

__all__ = ["TTL", "Held", "key_of", "redis_leases"]

TTL = 60

Ask = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class Held:
    """Which nodes' leases we hold; `refused` and `lost` say by node name why not (any more)."""

    def __init__(self, ask: Ask, ttl: int = TTL) -> None:
        self.token = secrets.token_hex(16)
        self.nodes: dict[str, Node] = {}
        self.refused: dict[str, str] = {}
        self.lost: dict[str, str] = {}
        self._ask = ask
        self._ttl = ttl

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
        """Renew all; one that is not ours any more is in `lost`."""
        for node in [node for node in self.nodes.values() if node.id is not None]:
            try:
                if not self._do("renew", node):
                    self.lost[node.name] = f"{key_of(node)} was taken over or ran out"
            except StackpinError as error:
                self.lost[node.name] = f"{key_of(node)}: {error}"

    def release(self) -> None:
        """Give back what is ours; the server lets the rest run out by itself."""
        for node in self.nodes.values():
            if node.id is None:
                continue
            try:
                self._do("release", node)
            except StackpinError as error:
                self.lost.setdefault(node.name, f"{key_of(node)}: {error}")
        self.nodes.clear()

    def _do(self, action: str, node: Node) -> bool:
        payload = {"action": action, "key": key_of(node), "token": self.token, "ttl": self._ttl}
        return bool(self._ask(payload).get("held"))


def key_of(node: Node) -> str:
    """Return the application's own key for a worker."""
    return f"agent_update_lock:{node.id}"


@contextmanager
def redis_leases(ask: Ask, nodes: Sequence[Node], ttl: int = TTL) -> Iterator[Held]:
    """Hold the leases of `nodes` in this block, renewed every third of `ttl` seconds.

    `ask` calls the host command `redis-lease` on the server. Nodes that are held by somebody else
    are in `refused`, and not in `nodes`.
    """
    held = Held(ask, ttl)
    heart = None
    try:
        held.take(nodes)
        heart = gevent.spawn(_beat, held, ttl / 3)
        yield held
    finally:
        if heart is not None:
            heart.kill()
        held.release()


def _beat(held: Held, every: float) -> None:
    while True:
        gevent.sleep(every)
        held.renew()
