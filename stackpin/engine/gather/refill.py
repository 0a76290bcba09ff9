"""Reading facts again after a change, for the operations to come, in one exec."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pyinfra.api.command import StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import BaseStateCallback, State

from stackpin.engine.gather.jobs import Job
from stackpin.engine.gather.memory import Memory

__all__ = ["Refill"]


class Refill(BaseStateCallback):
    """While a State executes: what an operation changed is forgotten, what follows read at once.

    `fetch(host, jobs)` reads jobs on a host. Facts are read up to the next operation that is to
    change the host, whose change they would not survive.
    """

    def __init__(
        self, memories: Mapping[str, Memory], fetch: Callable[[str, Sequence[Job]], None]
    ) -> None:
        self._memories = memories
        self._fetch = fetch

    # pyinfra declares these as static, and calls them on the instance.
    def operation_host_start(self, state: State, host: Host, op_hash: str) -> None:  # type: ignore[override]
        """Read what is not known of the host any more, and say what comes after the operation."""
        memory = self._memories[host.name]
        memory.ahead = ()
        order: Any = state.get_op_order()
        if op_hash not in order:
            return  # an operation within another
        here = order.index(op_hash)
        wanted = [
            job for job in self._coming(state, host, order[here:]) if memory.output(job) is None
        ]
        if len(wanted) > 1:
            self._fetch(host.name, wanted)
        if not memory.live:
            memory.ahead = self._coming(state, host, order[here + 1 :])

    def operation_end(self, state: State, op_hash: str) -> None:  # type: ignore[override]
        """Forget a host that the operation changed without any command of its own."""
        for host in state.inventory:
            memory = self._memories[host.name]
            memory.ahead = ()
            data = state.ops[host].get(op_hash)
            meta = None if data is None else data.operation_meta
            if meta is None or not meta.is_complete() or not meta.did_change():
                continue
            # What a command of the host changed is forgotten already; a function may do anything.
            if not all(isinstance(one, StringCommand) for one in meta._commands or ()):
                memory.forget()

    def _coming(self, state: State, host: Host, hashes: Sequence[str]) -> list[Job]:
        """Return the jobs of these operations, up to the first that is to change the host."""
        jobs: dict[Job, None] = {}
        for coming in hashes:
            jobs.update(self._memories[host.name].of_operation.get(coming, {}))
            data = state.ops[host].get(coming)
            if data is not None and data.operation_meta._maybe_is_change:
                break
        return list(jobs)
