"""A fleet in memory with a clock of its own: hundreds of nodes, hours in seconds, no randomness."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from stackpin.errors import StackpinError
from stackpin.fleet.model import Beat, Node, Observation, Outcome, Server, Want

__all__ = ["Clock", "SimulatedFleet", "digest_of"]

OBSERVE_SECONDS = 0.5
UPDATE_SECONDS = 20.0


def digest_of(version: str) -> str:
    """Return the digest the simulated images of `version` have."""
    return "sha256:" + (version.encode().hex() * 32)[:64]


@dataclass
class Clock:
    """Time that moves only when told to; also a `Stop` that stops at `end` (Unix seconds)."""

    now: float = 1_000_000.0
    end: float = float("inf")

    def __call__(self) -> float:
        """Return the time in Unix seconds."""
        return self.now

    def is_set(self) -> bool:
        """Whether the end is reached."""
        return self.now >= self.end

    def wait(self, seconds: float) -> bool:
        """Let `seconds` pass."""
        self.now += seconds
        return self.is_set()


@dataclass
class SimulatedFleet:
    """`nodes` by name, on a `clock`; `fails(node, version)` returns an outcome's kind or "".

    `peak` is the largest number of nodes that were ever updated at once, `updates` the last
    (time, node, outcome). A node that is not reachable answers nothing; a beat is always fresh
    unless the node is in `silent`.
    """

    clock: Clock
    version: str = "v1.1.0"
    nodes: dict[str, Node] = field(default_factory=dict)
    server: Server = field(default_factory=Server)
    fails: Callable[[Node, str], str] = lambda _node, _version: ""
    silent: set[str] = field(default_factory=set)
    broken: str = ""
    peak: int = 0
    observations: int = 0
    updates: deque[tuple[float, str, str]] = field(default_factory=lambda: deque(maxlen=10_000))

    @classmethod
    def of(cls, number: int, version: str, clock: Clock) -> SimulatedFleet:
        """Make a fleet of `number` nodes in sync, beside the server's own local one."""
        digest = digest_of(version)
        fleet = cls(clock, version)
        for index in range(number):
            name = f"node{index + 1:03}"
            fleet.nodes[name] = Node(
                name, f"10.0.{index // 250}.{index % 250 + 1}", id=index + 2, installed=True,
                running=True, version=version, digest=digest,
            )  # fmt: skip
        fleet.nodes["local"] = Node(
            "local", declared=False, local=True, id=1, reachable=None, installed=True,
            running=True, version=version, digest=digest,
        )  # fmt: skip
        fleet.server = Server("server", version, digest, healthy=True)
        return fleet

    def pin(self, version: str, *, server: bool = True) -> None:
        """Want `version` from now on; with `server` the server and its local agent run it."""
        self.version = version
        if server:
            digest = digest_of(version)
            self.server = replace(self.server, version=version, digest=digest)
            self.change("local", version=version, digest=digest)

    def change(self, name: str, **values: object) -> None:
        """Change facts of a node."""
        self.nodes[name] = replace(self.nodes[name], **values)  # type: ignore[arg-type]

    def observe(self) -> Observation:
        """Look at everything; takes half a second of the simulated clock."""
        self.observations += 1
        self.clock.now += OBSERVE_SECONDS
        if self.broken:
            raise StackpinError(self.broken)
        digest = digest_of(self.version)
        seen = tuple(self._seen(node) for node in self.nodes.values())
        return Observation(Want(self.version, digest), self.server, seen, digest)

    def update(self, nodes: Sequence[Node]) -> Mapping[str, Outcome]:
        """Update `nodes` at once; takes twenty seconds of the simulated clock."""
        self.peak = max(self.peak, len(nodes))
        self.clock.now += UPDATE_SECONDS
        outcomes = {}
        for node in nodes:
            if self.nodes[node.name].reachable is False:
                kind = "unreachable"
            else:
                kind = self.fails(node, self.version) or "updated"
            if kind == "updated":
                digest = digest_of(self.version)
                self.change(
                    node.name, installed=True, running=True, version=self.version, digest=digest
                )
            self.updates.append((self.clock.now, node.name, kind))
            outcomes[node.name] = Outcome(kind, "" if kind == "updated" else f"{kind} (simulated)")
        return outcomes

    def _seen(self, node: Node) -> Node:
        beats = node.installed and node.running and node.name not in self.silent
        beat = Beat(2.0, 10.0, 20.0) if beats else None
        if node.reachable is False:
            return Node(
                node.name, node.address, id=node.id, reachable=False, beat=beat,
                problem=f"{node.name}: no SSH connection",
            )  # fmt: skip
        return replace(node, beat=beat)
