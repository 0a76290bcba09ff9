"""One pass over the fleet: look, decide, update a batch, remember what failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from stackpin.errors import StackpinError
from stackpin.fleet.backoff import after, target_of
from stackpin.fleet.decide import Decision, Policy, decide
from stackpin.fleet.memory import Memory
from stackpin.fleet.model import Fleet, Node, Observation, Outcome
from stackpin.fleet.states import ONLINE, STATES, judge

__all__ = ["Pass", "one_pass"]

# After these the node is left alone for a while. "held" and "unreachable" are seen anew each pass.
BACKS_OFF = frozenset({"refused", "rolled-back", "failed", "unknown"})
CODES = {"unknown": 5, "rolled-back": 4, "failed": 1, "refused": 3}


@dataclass(frozen=True)
class Pass:
    """What one pass saw and did. `seconds` it took, `error` why it could not look at all."""

    at: float
    seconds: float
    seen: Observation | None = None
    decision: Decision | None = None
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    backoff: Mapping[str, float] = field(default_factory=dict)
    error: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """How many nodes are in each state, every state included."""
        states = self.decision.states.values() if self.decision else ()
        found = Counter(judged.state for judged in states)
        return {state: found[state] for state in STATES}

    @property
    def progressed(self) -> bool:
        """Whether the next batch may follow at once: something was updated and nothing failed."""
        kinds = {outcome.kind for outcome in self.outcomes.values()}
        return "updated" in kinds and not kinds & BACKS_OFF

    def exit_code(self) -> int:
        """0 when every node is online, 2 when not, else the worst that happened."""
        kinds = {outcome.kind for outcome in self.outcomes.values()}
        for kind, code in CODES.items():
            if kind in kinds:
                return code
        if self.error or self.decision is None:
            return 1
        done = {name for name, outcome in self.outcomes.items() if outcome.kind == "updated"}
        rest = (state for name, state in self.decision.states.items() if name not in done)
        return 0 if all(judged.state == ONLINE for judged in rest) else 2

    def as_json(self) -> dict[str, Any]:
        """Return the pass as JSON values, one entry per node."""
        decision, seen = self.decision, self.seen
        nodes = {}
        if decision and seen:
            for node in seen.nodes:
                judged, outcome = decision.states[node.name], self.outcomes.get(node.name)
                nodes[node.name] = {
                    "state": judged.state,
                    "differs": judged.differs,
                    "reason": judged.reason,
                    "version": node.version,
                    "waiting": decision.waiting.get(node.name),
                    "outcome": outcome and outcome.kind,
                    "error": outcome.error if outcome and outcome.error else None,
                    "lease_lost": outcome.lease if outcome and outcome.lease else None,
                    "backoff_seconds": round(self.backoff.get(node.name, 0.0), 1),
                }
        return {
            "time": self.at,
            "seconds": round(self.seconds, 3),
            "wanted": seen.want.version if seen else None,
            "states": self.counts,
            "halted": decision.halted if decision else "",
            "nodes": nodes,
            "error": self.error or None,
        }


def one_pass(
    fleet: Fleet,
    memory: Memory,
    policy: Policy,
    clock: Callable[[], float],
    *,
    starting: Callable[[tuple[Node, ...]], None] = lambda _nodes: None,
    stopping: Callable[[], bool] = lambda: False,
) -> Pass:
    """Look at `fleet`, update at most one batch, and note the outcomes in `memory`.

    `clock` gives Unix seconds; `starting` hears which nodes are about to be updated; when
    `stopping` says so by then, none is. What goes wrong is in the Pass, not raised: a watch
    outlives a broken inventory file or network.
    """
    begun = clock()
    try:
        seen = fleet.observe()
    except StackpinError as error:
        return Pass(begun, clock() - begun, error=str(error))
    target = target_of(seen.want)
    memory.keep([node.name for node in seen.nodes])
    _still_different(memory, seen, target, clock())
    if stopping():
        policy = replace(policy, batch=0)
    decision = decide(seen, memory.failures, clock(), policy)
    for name, judged in decision.states.items():
        # Whoever repaired it: nothing is left to try again. What cannot be seen stays as it was.
        if not judged.differs and judged.state == ONLINE:
            memory.failures.pop(name, None)
    outcomes: dict[str, Outcome] = {}
    if decision.update:
        starting(decision.update)
        outcomes = _update(fleet, decision.update)
        for node in decision.update:
            _remember(memory, node.name, outcomes[node.name], target, clock())
    now = clock()
    memory.last_pass = now
    waits = {name: left for name, one in memory.failures.items() if (left := one.left(now)) > 0}
    return Pass(begun, now - begun, seen, decision, outcomes, waits)


def _still_different(memory: Memory, seen: Observation, target: str, now: float) -> None:
    """Count an update that changed nothing as failed, or it would be made again without a pause."""
    for node in seen.nodes:
        to, before = memory.updated.get(node.name, ("", None))
        if to != target or node.lease or node.run_open:
            continue
        judged = judge(seen.want, node, seen.ttl)
        if judged.differs:
            if before is not None:
                memory.failures.setdefault(node.name, before)
            error = f"was updated, and still is not what it should be: {judged.reason}"
            _remember(memory, node.name, Outcome("failed", error), target, now)
    memory.updated = {}


def _update(fleet: Fleet, nodes: tuple[Node, ...]) -> dict[str, Outcome]:
    """Update `nodes`; each has an outcome afterwards, whatever happened."""
    try:
        found = dict(fleet.update(nodes))
    except StackpinError as error:
        kind = "refused" if error.exit_code == 3 else "unknown"
        found = {node.name: Outcome(kind, str(error)) for node in nodes}
    missing = Outcome("unknown", "the rollout said nothing about it")
    return {node.name: found.get(node.name, missing) for node in nodes}


def _remember(memory: Memory, name: str, outcome: Outcome, target: str, now: float) -> None:
    memory.tally.add(outcome)
    if outcome.kind == "updated":
        memory.updated[name] = target, memory.failures.pop(name, None)
    elif outcome.kind in BACKS_OFF:
        before = memory.failures.get(name)
        memory.failures[name] = after(before, target, outcome.kind, outcome.error, now)
