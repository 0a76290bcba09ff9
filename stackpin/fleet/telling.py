"""Nodes and passes in words."""

from __future__ import annotations

from stackpin.fleet.model import Node
from stackpin.fleet.passes import Pass
from stackpin.fleet.states import Judged

__all__ = ["Teller", "node_row"]


def node_row(node: Node, judged: Judged) -> list[str]:
    """Return the cells: node, id, state, runs, digest, heartbeat, load, why."""
    beat = node.beat
    load = "" if beat is None or beat.cpu is None else f"{beat.cpu:.0f}/{beat.memory or 0:.0f}"
    return [
        f"{node.name} (local)" if node.local else node.name,
        "" if node.id is None else str(node.id),
        judged.state,
        node.version or "",
        (node.digest or "")[:19],
        "" if beat is None else f"{beat.age:.0f} s ago",
        load,
        judged.reason,
    ]


class Teller:
    """Says of each pass what is new since the one before; a quiet pass says nothing."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        self._halted = ""
        self._error = ""
        self._counts: dict[str, int] = {}

    def lines(self, done: Pass) -> list[str]:
        """Return the lines about a pass."""
        lines: list[str] = []
        if done.error != self._error:
            lines.append(f"cannot look: {done.error}" if done.error else "can look again")
            self._error = done.error
        if done.decision is None:
            return lines
        for name, judged in done.decision.states.items():
            if self._states.get(name) != judged.state:
                lines.append(f"{name}: {judged.state}: {judged.reason}")
        self._states = {name: one.state for name, one in done.decision.states.items()}
        if done.decision.halted != self._halted:
            self._halted = done.decision.halted
            lines.append(f"updates halted: {self._halted}" if self._halted else "updates go on")
        for name, outcome in done.outcomes.items():
            wait = done.backoff.get(name)
            after = f"; tried again in {wait:.0f} s" if wait else ""
            error = f": {outcome.error}" if outcome.error else ""
            lines.append(f"{name}: {outcome.kind}{error}{after}")
            if outcome.lease:
                lines.append(f"{name}: its lease was lost during the update: {outcome.lease}")
        if done.counts != self._counts or done.outcomes:
            self._counts = done.counts
            told = ", ".join(f"{number} {state}" for state, number in done.counts.items() if number)
            lines.append(f"{told or 'no nodes'} ({done.seconds:.1f} s)")
        return lines
