"""Take a node out of the fleet, exactly as listed before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stackpin.care import removal
from stackpin.config.stacks import STACKS
from stackpin.engine.session import Session
from stackpin.errors import Refused
from stackpin.fleet.hosts import SERVER, WORKER, HostFleet
from stackpin.fleet.model import Node
from stackpin.rollout.lease import leases
from stackpin.rollout.model import whoami

__all__ = ["Removal"]

REMOVE_TIMEOUT = 300.0


@dataclass(frozen=True)
class Removal:
    """What goes with a node: its registration, and what `listed` (None: the host is lost) says."""

    host: str
    server: str
    node: Node
    listed: dict[str, Any] | None

    @classmethod
    def look(cls, fleet: HostFleet, host: str, *, gone: bool) -> Removal:
        """Find out what would go; changes nothing.

        `gone`: the host itself is lost. Raises Refused when it is no node, also carries the server,
        cannot be reached (or can, with `gone`), or the server cannot be asked.
        """
        layout, session = fleet.layout, fleet.session
        names = [node.host for node in layout.nodes]
        if _is_server(session, host):
            raise Refused(
                f"{host}: also carries {SERVER}, which shares its directory with the agent; "
                "expected a host that is a node only. Nothing was touched; to remove the whole "
                f"server: stackpin uninstall {session.inventory} {SERVER}"
            )
        if host not in names:
            raise Refused(
                f"{session.inventory}: found no node {host!r}, expected one of "
                f"{', '.join(names) or 'none'}"
            )
        seen = fleet.observe()
        node = next(node for node in seen.nodes if node.name == host)
        if not node.beats_known:
            raise Refused(
                f"{host}: the server could not be asked which worker it is "
                f"({seen.server.problem}); nothing was touched. Try again when it answers"
            )
        if gone and node.reachable:
            raise Refused(f"{host}: found it alive, expected it gone; remove it without --gone")
        if gone:
            return cls(host, layout.server, node, None)
        if not node.reachable:
            raise Refused(
                f"{node.problem}; nothing was touched. If the host is lost for good, --gone "
                "forgets it at the server"
            )
        _refuse_server(session, host)
        listed = session.call(host, "uninstall-list", WORKER, {"keep_backups": True})
        return cls(host, layout.server, node, listed)

    @property
    def anything(self) -> bool:
        """Whether there is anything to remove."""
        return self.node.id is not None or bool((self.listed or {}).get("remove"))

    def lines(self) -> list[str]:
        """Return the list as lines."""
        lines = []
        if self.node.id is not None:
            lines.append(f"forget worker {self.node.id} at the server on {self.server}")
        if self.listed is None:
            lines.append(f"{self.host} itself is not touched: it is gone")
        else:
            lines += [f"{self.host}: {line}" for line in removal.lines(self.listed)]
        return lines

    def as_json(self) -> dict[str, Any]:
        """Return the list as JSON values."""
        listed = self.listed or {}
        return {
            "host": self.host,
            "server": self.server,
            "worker": self.node.id,
            "remove": listed.get("remove", []),
            "keep": listed.get("keep", []),
        }

    def do(self, session: Session, say: Callable[[str], None]) -> dict[str, Any]:
        """Remove it all; returns what went. A host whose list changed since then refuses.

        The server forgets the node first, so that it gives it no more work.
        """
        done: dict[str, Any] = {"worker": None, "host": None}
        if self.listed is None:
            self._forget(session, say, done)
            return done
        with leases(session, WORKER, [self.host], "remove"):
            self._forget(session, say, done)
            if self.listed.get("remove"):
                payload = {"who": whoami(), "keep_backups": True, "expect": self.listed["sha256"]}
                session.call(self.host, "uninstall", WORKER, payload, timeout=REMOVE_TIMEOUT)
                done["host"] = self.host
                say(f"{self.host}: removed")
        # Giving back the lease of a stack that is gone leaves its mutex.
        state = f"/var/lib/stackpin/{WORKER}"
        session.run(self.host, f"rm -f {state}/lock.mutex; rmdir {state} 2>/dev/null; :")
        return done

    def _forget(self, session: Session, say: Callable[[str], None], done: dict[str, Any]) -> None:
        if self.node.id is None:
            return
        session.call(self.server, "unregister", SERVER, {"server_url": None, "id": self.node.id})
        done["worker"] = self.node.id
        say(f"{self.server}: forgot worker {self.node.id}")


def _is_server(session: Session, host: str) -> bool:
    known = {member.name for member in session.state.inventory}
    return host in known and STACKS[SERVER].applies_to(session.groups(host))


def _refuse_server(session: Session, host: str) -> None:
    """Ask the host itself, too: it may have been the server of another inventory."""
    if session.call(host, "state", SERVER, {"journal": 1}).get("installed"):
        raise Refused(
            f"{host}: found {SERVER} installed on it, which shares its directory with the agent; "
            "expected a host that is a node only. Nothing was touched"
        )
