"""Read what hosts and the server answered into nodes. Pure functions, no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stackpin.config.release import version_of
from stackpin.fleet.model import Beat, Lease, Node, Server

__all__ = ["Declared", "nodes_of", "server_of"]

# How run.json says that a run is over.
ENDED = frozenset({"retired", "reverted", "failed", "broken"})

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Declared:
    """A node as the inventory has it: `host` there, `name` and `address` at the server."""

    host: str
    name: str
    address: str


def nodes_of(
    declared: Sequence[Declared],
    states: Mapping[str, Document],
    problems: Mapping[str, str],
    rows: Sequence[Document] | None,
    server_version: str | None = None,
    *,
    everyone: bool = True,
) -> tuple[Node, ...]:
    """Return the declared nodes in order, then local ones, then workers in no inventory.

    `states` are answers of `state` by host, `problems` why the other hosts did not answer, `rows`
    the workers of the server's `fleet` answer (None: the server could not be asked), and
    `server_version` what its local agent runs. Without `everyone` only the declared ones.
    """
    left = {row["id"]: row for row in rows or ()}
    nodes = []
    for one in declared:
        row = _row(one, left)
        if row is not None:
            del left[row["id"]]
        state = states.get(one.host)
        known = _registered(row, beats_known=rows is not None)
        if state is None:
            problem = problems.get(one.host, f"{one.host}: no answer")
            nodes.append(Node(one.host, one.address, reachable=False, problem=problem, **known))
        else:
            nodes.append(Node(one.host, one.address, **known, **_running(state)))
    if everyone:
        taken = {node.name for node in nodes}
        rest = sorted(left.values(), key=lambda row: (not row.get("local"), row["id"]))
        for row in rest:
            nodes.append(_unlisted(row, taken, server_version))
            taken.add(nodes[-1].name)
    return tuple(nodes)


def server_of(
    host: str, state: Document | None, fleet: Document | None, problem: str = ""
) -> Server:
    """Return the server's side from its `state` and `fleet` answers (None: no answer)."""
    if problem or state is None or fleet is None:
        return Server(host, problem=problem or f"{host}: the server did not answer")
    if not state.get("installed") or not state.get("live_slot"):
        return Server(host, problem=f"{host}: no server was deployed on it yet")
    slot = _live(state)
    version = _version(state) or fleet.get("version")
    problem = f"{host}: a rollout of the server is under way" if _run_open(state) else ""
    healthy = slot.get("active") == "active" and slot.get("health") != "unhealthy"
    return Server(host, str(version or "") or None, slot.get("digest"), healthy, problem)


def _row(one: Declared, rows: Mapping[Any, Document]) -> Document | None:
    """Find the worker of a node as registration does: by name, else by address."""
    remote = [row for row in rows.values() if not row.get("local")]
    for key, value in (("name", one.name), ("address", one.address)):
        for row in remote:
            if value and row.get(key) == value:
                return row
    return None


def _registered(row: Document | None, *, beats_known: bool) -> dict[str, Any]:
    if row is None:
        return {"beats_known": beats_known}
    return {
        "id": int(row["id"]),
        "beat": _beat(row.get("beat")),
        "beats_known": beats_known,
        "row_status": row.get("row_status"),
    }


def _running(state: Document) -> dict[str, Any]:
    lease = state.get("lock")
    found: dict[str, Any] = {
        "lease": Lease(str(lease.get("owner", "somebody")), str(lease.get("reason") or ""))
        if lease
        else None,
        "run_open": _run_open(state),
    }
    found["first"] = found["run_open"] and bool((state.get("run") or {}).get("first"))
    if not state.get("installed") or not state.get("live_slot"):
        return found
    slot = _live(state)
    return {
        **found,
        "installed": True,
        "running": slot.get("active") == "active",
        "version": _version(state),
        "digest": slot.get("digest"),
    }


def _unlisted(row: Document, taken: set[str], server_version: str | None) -> Node:
    name = str(row.get("name") or f"worker {row['id']}")
    if name in taken:
        name = f"{name} (worker {row['id']})"
    local = bool(row.get("local"))
    return Node(
        name,
        str(row.get("address") or ""),
        declared=False,
        local=local,
        id=int(row["id"]),
        reachable=None,
        installed=local,
        running=local,
        version=server_version if local else None,
        beat=_beat(row.get("beat")),
        row_status=row.get("row_status"),
    )


def _beat(beat: Document | None) -> Beat | None:
    if beat is None:
        return None
    return Beat(float(beat["age"]), beat.get("cpu"), beat.get("mem"))


def _live(state: Document) -> Document:
    slots: Mapping[str, Document] = state.get("slots") or {}
    return slots.get(str(state.get("live_slot"))) or {}


def _version(state: Document) -> str | None:
    live = state.get("live_release")
    for entry in state.get("releases") or ():
        if entry.get("id") == live and entry.get("version"):
            return str(entry["version"])
    return version_of(str(live)) if live else None


def _run_open(state: Document) -> bool:
    """Whether somebody works on it. A run whose operator died and that no guard ends is not one.

    The next rollout clears such a run up; waiting for it would mean waiting for ever.
    """
    stage = (state.get("run") or {}).get("stage", "retired")
    if stage in ENDED and not state.get("pending"):
        return False
    return bool(state.get("pending") or state.get("lock"))
