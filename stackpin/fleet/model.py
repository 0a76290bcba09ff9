"""What is known about nodes at one moment, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["Beat", "Fleet", "Lease", "Node", "Observation", "Outcome", "Server", "Want"]


@dataclass(frozen=True)
class Want:
    """What every agent must run: `version` "v1.2.0", `digest` "sha256:.." or None if not locked."""

    version: str
    digest: str | None = None


@dataclass(frozen=True)
class Beat:
    """The last heartbeat the server has: `age` in seconds by the server's clock, load in percent.

    The server drops a heartbeat after its time to live, so mostly there is a fresh one or none.
    """

    age: float
    cpu: float | None = None
    memory: float | None = None


@dataclass(frozen=True)
class Lease:
    """Who works on a node's stack just now."""

    owner: str
    reason: str = ""


@dataclass(frozen=True)
class Node:
    """Facts about one node.

    `name` is the inventory's name, or the server's one of a worker that is in no inventory
    (`declared` False). `local`: its agent comes with the server's own stack. `id` is its number at
    the server, None when not registered. `reachable` None: nobody asked (not declared). `installed`
    an agent was deployed, `running` its container runs, `version` and `digest` what it runs.
    `run_open` a rollout is at work there or was left, `first` that one is the first install.
    `beats_known` False: the server could not be asked, so an absent `beat` means nothing.
    """

    name: str
    address: str = ""
    declared: bool = True
    local: bool = False
    id: int | None = None
    reachable: bool | None = True
    problem: str = ""
    installed: bool = False
    running: bool = False
    version: str | None = None
    digest: str | None = None
    run_open: bool = False
    first: bool = False
    lease: Lease | None = None
    beat: Beat | None = None
    beats_known: bool = True
    row_status: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the facts as JSON values."""
        beat = None if self.beat is None else dict(vars(self.beat))
        lease = None if self.lease is None else dict(vars(self.lease))
        return {**vars(self), "beat": beat, "lease": lease}


@dataclass(frozen=True)
class Server:
    """The server's side: `host` its inventory name, `version` and `digest` what it runs.

    `healthy` False, or a `problem`: nothing may be updated against it.
    """

    host: str = ""
    version: str | None = None
    digest: str | None = None
    healthy: bool = False
    problem: str = ""


@dataclass(frozen=True)
class Observation:
    """Everything known at one moment; `wanted_server` is the server image's digest, if locked."""

    want: Want
    server: Server
    nodes: tuple[Node, ...]
    wanted_server: str | None = None
    ttl: float = 15.0


# How an attempt to update a node ended. "held": somebody else worked on it; "unreachable": it could
# not be connected; "refused": nothing was tried; the last three leave the old agent or are unknown.
OUTCOMES = ("updated", "held", "unreachable", "refused", "rolled-back", "failed", "unknown")


@dataclass(frozen=True)
class Outcome:
    """How updating one node ended: `kind` of OUTCOMES, and `error` in a sentence unless updated.

    `lease` says how the node's lease in Redis got lost meanwhile; "" when it did not.
    """

    kind: str
    error: str = ""
    lease: str = ""


class Fleet(Protocol):
    """Nodes one can look at and update: real ones over SSH, or simulated."""

    def observe(self) -> Observation:
        """Look at everything once. Raises StackpinError when that is impossible."""

    def update(self, nodes: Sequence[Node]) -> Mapping[str, Outcome]:
        """Bring `nodes` to what is wanted, at once, and say by name how it ended."""


@dataclass
class Tally:
    """How many updates ended in which way since the state file was made.

    `leases_lost` is how many of them lost the node's lease in Redis meanwhile.
    """

    updates: dict[str, int] = field(default_factory=dict)
    leases_lost: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count one."""
        self.updates[outcome.kind] = self.updates.get(outcome.kind, 0) + 1
        self.leases_lost += bool(outcome.lease)
