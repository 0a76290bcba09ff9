"""The Fleet of real hosts: looked at over SSH connections that stay open, updated by rollouts."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import paramiko

from stackpin.config.stacks import STACKS
from stackpin.config.xingrin_fleet import node_address
from stackpin.engine.remote import RemoteLost
from stackpin.engine.session import Session, open_session
from stackpin.engine.state import select_hosts
from stackpin.errors import Refused, StackpinError
from stackpin.fleet.facts import Declared, nodes_of, server_of
from stackpin.fleet.model import Node, Observation, Outcome, Want
from stackpin.fleet.redis_lease import Held, redis_leases
from stackpin.fleet.rollouts import Rollouts
from stackpin.lockfile import pinned

__all__ = ["SERVER", "STACK", "WORKER", "HostFleet", "Layout"]

STACK, SERVER, WORKER = "xingrin", "xingrin-server", "xingrin-worker"
STATE_TIMEOUT = 30.0
# The inventory may be a program that asks somewhere else: read it again now and then all the same.
LONGEST_SESSION = 3600.0


class Layout:
    """Who is who in an open session: the server's host, the nodes, and what they should run.

    `limit` names nodes or groups, empty for all. Raises Refused for bad settings or lock file.
    """

    def __init__(self, session: Session, limit: Sequence[str] = ()) -> None:
        inventory = session.state.inventory
        chosen = {host.name for host in select_hosts(inventory, limit, session.inventory)}
        names = [host.name for host in inventory]
        of = {part: self._hosts(session, part, names) for part in (SERVER, WORKER)}
        if not of[WORKER] and not of[SERVER]:
            raise Refused(
                f"{session.inventory}: found neither a group {STACKS[SERVER].group!r} nor "
                f"{STACKS[WORKER].group!r}; expected the hosts of {STACK} in them"
            )
        if not of[SERVER]:
            raise Refused(
                f"{session.inventory}: found no host in the group {STACKS[SERVER].group!r}; "
                "without the server nobody can tell which nodes it hears of: add it"
            )
        self.server: str = of[SERVER][0]
        settings = {host: self._settings(session, WORKER, host) for host in of[WORKER]}
        self.settings = self._settings(session, SERVER, self.server)
        self.nodes = [
            Declared(host, str(own.node_name or host), node_address(own, _address(session, host)))
            for host, own in settings.items()
            if host in chosen
        ]
        images = pinned(self.settings, Path.cwd())
        self.want = Want(self.settings.version, _digest(images.get("agent")))
        self.wanted_server = _digest(images.get("server"))
        self.everyone = not limit

    @staticmethod
    def _hosts(session: Session, part: str, names: Sequence[str]) -> list[str]:
        return [name for name in names if STACKS[part].applies_to(session.groups(name))]

    @staticmethod
    def _settings(session: Session, part: str, host: str) -> Any:  # noqa: ANN401 - XingrinBase
        return STACKS[part].settings(session.data(host), host)[part]


class HostFleet:
    """Nodes of an inventory. Use it in a `with` block; its connections are closed at the end.

    `limit` names nodes or groups, empty for all; `data` overrides variables.
    """

    def __init__(
        self, inventory: str, limit: Sequence[str] = (), data: Mapping[str, Any] | None = None
    ) -> None:
        self._inventory, self._limit, self._data = inventory, tuple(limit), dict(data or {})
        self.rollouts = Rollouts(inventory, self._data)
        self._exits = ExitStack()
        self._session: Session | None = None
        self._layout: Layout | None = None
        self._opened = 0.0
        self._files: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> HostFleet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; the next look opens them again."""
        self._session = self._layout = None
        self._exits.close()

    def observe(self) -> Observation:
        """Ask every node for its state and the server for heartbeats. Raises StackpinError."""
        session, layout = self._open()
        hosts = [layout.server, *(node.host for node in layout.nodes)]
        answers = session.map(lambda host: self._ask(session, layout, host), hosts)
        problems = {host: str(error) for host, error in answers.errors.items()}
        fleet, failed = self._fleet(session, layout, problems)
        server = server_of(layout.server, answers.values.get(layout.server), fleet, failed)
        nodes = nodes_of(
            layout.nodes,
            answers.values,
            problems,
            None if fleet is None else fleet["workers"],
            server.version,
            everyone=layout.everyone,
        )
        ttl = float(layout.settings.heartbeat_ttl)
        return Observation(layout.want, server, nodes, layout.wanted_server, ttl)

    def update(self, nodes: Sequence[Node]) -> Mapping[str, Outcome]:
        """Roll `nodes` out, under leases in the server's Redis as well where that is set."""
        with self.leases(nodes) as held:
            found = {name: Outcome("held", why) for name, why in held.refused.items()}
            if held.nodes:
                # Whoever took a lease over works on that node: ours goes back to what it was.
                held.taken_over = lambda _name, _why: self.rollouts.abort()
                found |= self.rollouts.run(list(held.nodes))
        return held.told(found)

    @contextmanager
    def leases(self, nodes: Sequence[Node]) -> Iterator[Held]:
        """Hold the leases of `nodes` in the server's Redis, where `lock_backend` says so.

        The hosts' own leases are taken by the rollout itself.
        """
        session, layout = self._open()

        def ask(payload: Mapping[str, Any]) -> Mapping[str, Any]:
            return session.call(layout.server, "redis-lease", SERVER, payload)

        if layout.settings.lock_backend == "redis":
            with redis_leases(ask, nodes) as held:
                yield held
        else:
            held = Held(ask)
            held.nodes = {node.name: node for node in nodes}
            yield held

    def check(self) -> None:
        """Read the inventory, and connect. Raises Refused for what will not pass by itself."""
        self._open()

    @property
    def layout(self) -> Layout:
        """Who is who. Raises StackpinError when the hosts cannot be connected."""
        return self._open()[1]

    @property
    def session(self) -> Session:
        """The open session. Raises StackpinError when no host can be connected."""
        return self._open()[0]

    def _open(self) -> tuple[Session, Layout]:
        files = _stamps(Path(self._inventory))
        late = time.monotonic() - self._opened > LONGEST_SESSION
        if self._session is not None and self._layout is not None:
            if files == self._files and not late:
                return self._session, self._layout
            self.close()
        self._exits = ExitStack()
        try:
            session = self._exits.enter_context(
                open_session(self._inventory, (), self._data, partial=True, stack=STACKS[STACK])
            )
            layout = Layout(session, self._limit)
        except BaseException:
            self._exits.close()
            raise
        self._session, self._layout, self._files = session, layout, files
        self._opened = time.monotonic()
        return session, layout

    def _ask(self, session: Session, layout: Layout, host: str) -> dict[str, Any]:
        part = SERVER if host == layout.server else WORKER
        if not session.connected(host):
            _reconnect(session, host)
        payload = {"journal": 1}
        try:
            return session.call(host, "state", part, payload, timeout=STATE_TIMEOUT)
        except RemoteLost:
            # It may have been restarted since the last pass; once more over a new connection.
            _reconnect(session, host)
            return session.call(host, "state", part, payload, timeout=STATE_TIMEOUT)

    def _fleet(
        self, session: Session, layout: Layout, problems: Mapping[str, str]
    ) -> tuple[dict[str, Any] | None, str]:
        """Return the server's `fleet` answer, or None and why there is none."""
        if layout.server in problems:
            return None, problems[layout.server]
        try:
            return session.call(layout.server, "fleet", SERVER, timeout=STATE_TIMEOUT), ""
        except StackpinError as error:
            return None, str(error)


def _address(session: Session, host: str) -> str:
    return str(session.data(host).get("ssh_hostname") or host)


def _reconnect(session: Session, host: str) -> None:
    connector: Any = session.pyinfra_host(host).connector
    if getattr(connector, "client", None) is None:
        # Never connected so far: give `reconnect` something to close.
        connector.client = paramiko.SSHClient()
    session.reconnect(host)
    session.problems.pop(host, None)


def _stamps(inventory: Path) -> dict[str, tuple[int, int]]:
    """Return when the inventory, its data and lock files were changed last, and their sizes."""
    folder = inventory.resolve().parent
    found = {}
    for path in sorted((*folder.glob("*.py"), *folder.glob("*.toml"), *folder.glob("*_data/*"))):
        try:
            status = path.stat()
        except OSError:
            continue
        found[str(path)] = (status.st_mtime_ns, status.st_size)
    return found


def _digest(ref: str | None) -> str | None:
    """Return "sha256:.." of "repo:tag@sha256:.."."""
    return (ref or "").partition("@")[2] or None
