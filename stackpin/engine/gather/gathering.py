"""What a session's hosts are asked together: each in as few execs as possible."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Protocol

from pyinfra.api.host import Host

from stackpin.engine.gather.fact_list import FactList, render
from stackpin.engine.gather.jobs import Job
from stackpin.engine.gather.memory import Call, Memory
from stackpin.errors import StackpinError

__all__ = ["Gathering"]


class Asked(Protocol):
    """What is needed of a session: its hosts, connected, and the way to several at once."""

    def pyinfra_host(self, host: str) -> Host:
        """Return pyinfra's object for `host`."""

    def remote(self, host: str) -> Any:  # noqa: ANN401 - a Remote, which knows of memories itself
        """Return the connection to `host`."""

    def map(self, function: Callable[[str], None], hosts: Sequence[str]) -> Any:  # noqa: ANN401
        """Call `function` for several hosts at once."""


class Gathering:
    """The memories of an inventory's hosts, and the list of facts worth asking at once.

    STACKPIN_FACTS=single in the environment switches it off: facts are then read one by one, as
    stock pyinfra does.
    """

    def __init__(self, inventory: str, stack: str, hosts: Sequence[str]) -> None:
        self.on = os.environ.get("STACKPIN_FACTS") != "single"
        self.memories = {host: Memory() for host in hosts}
        self._list = FactList(inventory, stack)

    @property
    def wrapped(self) -> Mapping[str, Memory]:
        """The memories that connectors answer facts from; none when it is off."""
        return self.memories if self.on else {}

    def ask(
        self,
        session: Asked,
        places: Mapping[str, Sequence[str]],
        calls: Mapping[str, Sequence[Call]] = MappingProxyType({}),
    ) -> bool:
        """Ask each host, in one exec, what a plan of its parts in `places` needed last time.

        `calls` are questions to the host programs that will be asked as well: they, and the facts,
        are then answered from memory until something changes the host. Where nothing is known of
        the last time, the questions wait for the first exec that reads facts. Tells whether that
        was the case for no host. To be called with the session's State active.
        """
        if not self.on:
            return True

        def one(host: str) -> None:
            memory = self.memories[host]
            if host in calls:
                memory.calls = list(calls[host])
            if not memory.live:
                with memory.unasked():
                    render(session.pyinfra_host(host), self._list.entries(host, places[host]))
            wanted = memory.take()
            if wanted:
                self.read(session, host, wanted)

        # One host answers while the next one's commands are rendered.
        session.map(one, list(places)).all()
        return not any(self.memories[host].calls for host in places)

    def learn(self, session: Asked, hosts: Collection[str]) -> bool:
        """Read what deploy files wanted to know of `hosts`; tell whether to load them again.

        A host whose facts cannot be read together is asked live from then on.
        """
        again = False
        for host, wanted in self._read_wanted(session, hosts).items():
            memory = self.memories[host]
            missing = [job for job in wanted if memory.output(job) is None]
            memory.live = memory.live or memory.incomplete or bool(missing)
            again = again or bool(wanted) or memory.incomplete
        return again

    def read(self, session: Asked, host: str, jobs: Sequence[Job]) -> None:
        """Read facts' commands, and the questions that wait, into the host's memory."""
        memory = self.memories[host]
        calls, memory.calls = memory.calls, []
        # A host that does not answer now says why when it is asked again.
        with suppress(StackpinError):
            session.remote(host).gather(jobs, calls)

    def note_used(self, hosts: Collection[str]) -> None:
        """Remember for the next run which facts deploy files used on `hosts`."""
        for host in hosts:
            self._list.update(host, self.memories[host].used)

    def close(self) -> None:
        """Write down what the next run should ask at once."""
        self._list.save()

    def _read_wanted(self, session: Asked, hosts: Collection[str]) -> dict[str, list[Job]]:
        wanted = {host: self.memories[host].take() for host in hosts}
        asked = [host for host in hosts if wanted[host]]
        session.map(lambda host: self.read(session, host, wanted[host]), asked).all()
        return wanted
