"""Reading facts again after a change, for the operations to come, in one exec."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

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
        """Read what is not known of the host any more."""
        memory = self._memories[host.name]
        order: Any = state.get_op_order()
        if op_hash not in order:
            return  # an operation within another
        wanted: dict[Job, None] = {}
        for coming in order[order.index(op_hash) :]:
            jobs = memory.of_operation.get(coming, {})
            wanted.update((job, None) for job in jobs if memory.output(job) is None)
            data = state.ops[host].get(coming)
            if data is not None and data.operation_meta._maybe_is_change:
                break
        if len(wanted) > 1:
            self._fetch(host.name, list(wanted))

    def operation_end(self, state: State, op_hash: str) -> None:  # type: ignore[override]
        """Forget a host that the operation changed without any command of its own."""
        for host in state.inventory:
            data = state.ops[host].get(op_hash)
            meta = None if data is None else data.operation_meta
            if meta is not None and meta.is_complete() and meta.did_change():
                self._memories[host.name].forget()
