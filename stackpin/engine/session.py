"""A session: the hosts of an inventory, connected, and the host program at hand on each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import paramiko
from gevent.pool import Pool
from pyinfra.api.facts import FactBase
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State

from stackpin.engine.connect import ConnectProblem, connect
from stackpin.engine.gather.gathering import Gathering
from stackpin.engine.gather.memory import Call
from stackpin.engine.placing import chosen, witness_hosts
from stackpin.engine.remote import Ran, Remote, RemoteError
from stackpin.engine.state import forget_inventory, load_inventory, new_state, select_hosts
from stackpin.engine.waiting import queued, waited_for
from stackpin.errors import Refused

if TYPE_CHECKING:
    from stackpin.config.stacks import Stack

__all__ = ["Mapped", "Session", "open_session"]

T = TypeVar("T")
PARALLEL = 20


@dataclass
class Mapped(Generic[T]):
    """What `Session.map` brought: a value or an exception per host."""

    values: dict[str, T] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)

    def all(self) -> dict[str, T]:
        """Return the values, or raise the first host's exception."""
        for error in self.errors.values():
            raise error
        return self.values


class Session:
    """Connected hosts; made by `open_session`.

    `inventory` is the path it was made from, `hosts` the names of connected hosts in inventory
    order, `problems` why the others could not be connected; `aside` are hosts beyond the limit,
    connected only to be asked about the others.
    """

    def __init__(
        self,
        inventory: str,
        state: State,
        gathering: Gathering,
        aside: Sequence[str] = (),
    ) -> None:
        self.inventory = inventory
        self.problems: dict[str, ConnectProblem] = {}
        self.state = state
        self.gathering = gathering
        self.aside = frozenset(aside)
        self._remotes: dict[str, Remote] = {}
        self._leases: dict[str, dict[str, str]] = {}

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names of the connected hosts to work on, in inventory order."""
        return tuple(name for name in self._remotes if name not in self.aside)

    def groups(self, host: str) -> tuple[str, ...]:
        """Return the inventory groups of `host`, connected or not."""
        return tuple(self.pyinfra_host(host).groups)

    def connected(self, host: str) -> bool:
        """Tell whether `host` was connected, to be worked on or only asked."""
        return host in self._remotes

    def data(self, host: str) -> dict[str, Any]:
        """Return all variables of `host`, as pyinfra merges them."""
        return dict(self.pyinfra_host(host).data.dict())

    def remote(self, host: str) -> Remote:
        """Return the open connection to `host`."""
        try:
            return self._remotes[host]
        except KeyError:
            raise Refused(f"{host}: not connected in this run") from None

    def call(
        self,
        host: str,
        command: str,
        stack: str = "-",
        payload: Mapping[str, Any] | None = None,
        *,
        timeout: float = 60.0,
        on_line: Callable[[str], None] | None = None,
    ) -> dict[str, Any]:
        """Run a command of the host program (see Remote.call); a held lease goes along by itself.

        `payload` is the JSON object for its stdin, `timeout` in seconds, `on_line` gets progress.
        """
        return self.remote(host).call(command, stack, payload, timeout=timeout, on_line=on_line)

    def many(
        self,
        host: str,
        calls: Sequence[Call],
        *,
        timeout: float = 60.0,
        keep: bool = False,
    ) -> list[Any]:
        """Put several questions in one exec (see Remote.many)."""
        return self.remote(host).many(calls, timeout=timeout, keep=keep and self.gathering.on)

    def fact(self, host: str, cls: type[FactBase[T]], **kwargs: Any) -> T:  # noqa: ANN401 - the fact's own
        """Return a fact of `host` (see Remote.fact)."""
        return self.remote(host).fact(cls, **kwargs)

    def run(
        self, host: str, argv: Sequence[str] | str, stdin: bytes = b"", *, timeout: float = 60.0
    ) -> Ran:
        """Run any program on `host` with the inventory's rights (see Remote.run)."""
        return self.remote(host).run(argv, stdin, timeout=timeout)

    def map(self, function: Callable[[str], T], hosts: Sequence[str] | None = None) -> Mapped[T]:
        """Call `function(host)` for `hosts` (default all) at the same time; errors are kept."""
        names = list(self.hosts if hosts is None else hosts)
        result: Mapped[T] = Mapped()

        def one(name: str) -> tuple[str, T | None, Exception | None]:
            try:
                with waited_for(name):
                    return name, function(name), None
            except Exception as error:
                return name, None, error

        queued(names)
        for name, value, error in Pool(PARALLEL).map(one, names):
            if error is not None:
                result.errors[name] = error
            else:
                result.values[name] = value
        return result

    def hold(self, host: str, stack: str, token: str | None) -> None:
        """Remember the lease token to send with calls for `stack` on `host`; None forgets it."""
        leases = self._leases.setdefault(host, {})
        if token is None:
            leases.pop(stack, None)
        else:
            leases[stack] = token

    @contextmanager
    def fresh(self, host: str) -> Iterator[Remote]:
        """Open a second SSH connection to `host`: proof that the way in still works."""
        pyinfra_host = self.pyinfra_host(host)
        first = pyinfra_host.connector
        connector = pyinfra_host.connector_cls(self.state, pyinfra_host)
        pyinfra_host.connector = connector
        try:
            problem = connect(pyinfra_host)
        finally:
            pyinfra_host.connector = first
        if problem:
            raise RemoteError(host, problem.message, {"kind": problem.kind})
        remote = self._attach(pyinfra_host, connector)
        try:
            yield remote
        finally:
            remote.close()

    def client(self, host: str) -> paramiko.SSHClient:
        """Return the SSH client of the connection to `host`, for another State to use."""
        connector: Any = self.pyinfra_host(host).connector
        return connector.client  # type: ignore[no-any-return]

    def reconnect(self, host: str) -> None:
        """Replace the connection to `host` by a new one; RemoteError while that is impossible."""
        pyinfra_host = self.pyinfra_host(host)
        old: Any = pyinfra_host.connector
        connector = pyinfra_host.connector_cls(self.state, pyinfra_host)
        pyinfra_host.connector = connector
        problem = connect(pyinfra_host)
        if problem:
            pyinfra_host.connector = old
            raise RemoteError(host, problem.message, {"kind": problem.kind})
        old.client.close()
        self.gathering.memories[host].forget()
        self._remotes[host] = self._attach(pyinfra_host, connector)

    def add(self, host: Host, problem: ConnectProblem | None) -> None:
        """Take a host in: connected when `problem` is None, else listed with its problem."""
        if problem:
            self.problems[host.name] = problem
            return
        host.connected = True
        self._remotes[host.name] = self._attach(host, host.connector)

    def close(self) -> None:
        """Close every connection."""
        self.gathering.close()
        forget_inventory()
        for remote in self._remotes.values():
            remote.close()

    def pyinfra_host(self, host: str) -> Host:
        """Return pyinfra's object for `host`."""
        found = self.state.inventory.get_host(host)
        if not isinstance(found, Host):
            raise Refused(f"{host}: not in {self.inventory}")
        return found

    def _attach(self, host: Host, connector: Any) -> Remote:  # noqa: ANN401 - pyinfra's protocol
        leases = self._leases.setdefault(host.name, {})
        memory = self.gathering.memories[host.name]
        return Remote(self.state, host, connector, leases, memory)


@contextmanager
def open_session(
    inventory: str,
    limit: Sequence[str] = (),
    data: Mapping[str, Any] | None = None,
    *,
    partial: bool = False,
    stack: Stack | str | None = None,
    witness: bool = False,
) -> Iterator[Session]:
    """Connect to the hosts of an inventory file and yield the Session; closes it at the end.

    `limit` holds host and group names (empty = all), `data` overrides variables. With `stack` only
    hosts that have a part of it are connected. A host that cannot be connected refuses the whole
    session with every problem named, unless `partial`: then it is listed in `session.problems`,
    and only no host at all refuses. `witness` connects the hosts `stack` is judged by as well.
    """
    loaded = load_inventory(inventory, data)
    hosts = select_hosts(loaded, limit, inventory)
    if isinstance(stack, str):
        from stackpin.config.stacks import stack as stack_of  # noqa: PLC0415 - all settings

        stack = stack_of(stack)
    if stack is not None:
        names = chosen(loaded, stack, limit, inventory)
        hosts = [host for host in hosts if host.name in names]
    aside = []
    if stack is not None and witness:
        aside = [host for host in witness_hosts(loaded, stack) if host not in hosts]
    session = _connect(inventory, loaded, hosts, aside, stack.name if stack else None)
    try:
        if session.problems and not (partial and session.hosts):
            raise Refused("\n".join(problem.message for problem in session.problems.values()))
        yield session
    finally:
        session.close()


def _connect(
    path: str, inventory: Inventory, hosts: list[Host], aside: list[Host], stack: str | None
) -> Session:
    every = [*hosts, *aside]
    gathering = Gathering(path, stack or "", [host.name for host in inventory])
    state = new_state(inventory, every, memories=gathering.wrapped)
    session = Session(path, state, gathering, [host.name for host in aside])
    queued([host.name for host in every])

    def one(host: Host) -> ConnectProblem | None:
        with waited_for(host.name):
            return connect(host)

    for host, problem in zip(every, Pool(PARALLEL).map(one, every), strict=True):
        session.add(host, problem)
    return session
