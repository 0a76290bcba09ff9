"""Make a node known to the application before its agent starts, and forget it afterwards.

An agent without WORKER_ID would add itself as a worker on the server's own host, so the id comes
first. It is kept in node.env, which the container's environment is made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stackpin.host import disk
from stackpin.host.drivers import driver
from stackpin.host.envfile import parse_env
from stackpin.host.errors import HostError, failed, refused
from stackpin.host.mutex import mutex
from stackpin.host.progress import say
from stackpin.host.slots import live_slot
from stackpin.host.stack import Stack
from stackpin.host.worker_api import UnreachableError, WorkerApi

__all__ = ["COMMANDS", "kept_id", "node_env", "register", "unregister", "worker"]

Payload = dict[str, Any]


def node_env(stack: Stack) -> Path:
    """Return /etc/stackpin/<stack>/node.env."""
    return stack.settings_dir / "node.env"


def kept_id(stack: Stack) -> int | None:
    """Return the id this node was given, None when it has none."""
    try:
        values = parse_env(node_env(stack).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    number = values.get("WORKER_ID", "")
    return int(number) if number.isdigit() else None


def register(stack: Stack, payload: Payload) -> Payload:
    """Give this node its id.

    payload: {server_url, name, address, ssh_port, username, verify: bool, ca: PEM text or null}
    -> {id, created, changed}. A kept id the server still knows by this name or address stays;
    otherwise the worker of that name, else of that address, is taken, else one is made. Raises
    HostError(error) when the server does not answer, HostError(refused) when name or address
    belong to a worker on the server's own host or to two different workers.
    """
    api, name, address = _api(stack, payload), str(payload["name"]), str(payload["address"])
    try:
        with mutex(stack):
            kept = kept_id(stack)
            found = _known(api, kept, name, address) if kept is not None else None
            created = False
            if found is None:
                found = choose(list(api.workers()), name, address)
            if found is None:
                port, user = int(payload.get("ssh_port") or 22), str(payload.get("username") or "")
                found, created = api.create(name, address, port, user or "root"), True
                say(f"registered worker {name} as {found.get('id')}")
            number = int(found["id"])
            changed = number != kept
            if changed:
                if not stack.settings_dir.is_dir():
                    disk.make_dir(stack.settings_dir, 0o711)
                disk.atomic_write(node_env(stack), f'WORKER_ID="{number}"\n'.encode(), 0o600)
    except UnreachableError as problem:
        raise failed(
            f"worker {name} cannot be registered: {problem}; is the server up, and may this node "
            "reach its port? then deploy again",
            server_url=api.url,
        ) from problem
    return {"id": number, "created": created, "changed": changed}


def _known(api: WorkerApi, kept: int, name: str, address: str) -> Payload | None:
    """Return the kept worker when it is still this node's."""
    row = api.get(kept)
    if row is None or row.get("isLocal"):
        return None
    return row if row.get("name") == name or row.get("ipAddress") == address else None


def choose(rows: list[Payload], name: str, address: str) -> Payload | None:
    """Pick this node among all workers: by its name, then by its address; None: not there.

    Raises HostError(refused) when that cannot be decided safely.
    """
    named = next((row for row in rows if row.get("name") == name), None)
    remote = [row for row in rows if not row.get("isLocal")]
    placed = next((row for row in remote if row.get("ipAddress") == address), None)
    if named is not None and named.get("isLocal"):
        raise refused(
            f"worker {name}: the server has this name for its own local worker (id "
            f"{named.get('id')}); give the node another node_name"
        )
    if named is not None and placed is not None and named["id"] != placed["id"]:
        raise refused(
            f"worker {name}: the server has the name with id {named['id']} at "
            f"{named.get('ipAddress')} and the address {address} with id {placed['id']} as "
            f"{placed.get('name')}; remove the one that is wrong there"
        )
    if named is not None and named.get("ipAddress") not in {address, None, ""}:
        say(f"worker {name}: the server has it at {named.get('ipAddress')}, not {address}")
    return named or placed


def worker(stack: Stack, payload: Payload) -> Payload:
    """Tell this node's id: worker {server_url, verify, ca, ask: bool} -> {id, known, message}.

    known: whether the server has that id; null when it was not asked or did not answer.
    """
    number = kept_id(stack)
    if number is None or not payload.get("ask"):
        return {"id": number, "known": None, "message": None}
    try:
        row = _api(stack, payload).get(number)
    except (UnreachableError, HostError) as problem:
        return {"id": number, "known": None, "message": str(problem)}
    return {"id": number, "known": row is not None and not row.get("isLocal"), "message": None}


def unregister(stack: Stack, payload: Payload) -> Payload:
    """Forget a worker: unregister {server_url or null, id, verify, ca} -> {removed}.

    server_url null: the server container of this host is asked. id null: the one kept here. An id
    the server does not know is no error. On the node itself node.env goes too.
    """
    number = payload.get("id")
    number = kept_id(stack) if number is None else int(number)
    if number is None:
        return {"removed": False}
    api = _api(stack, payload)
    try:
        row = api.get(number)
        if row is not None and row.get("isLocal"):
            raise refused(f"worker {number} is the server's own local worker; it is not removed")
        removed = api.delete(number)
    except UnreachableError as problem:
        raise failed(
            f"worker {number} cannot be unregistered: {problem}; try again when the server is up"
        ) from problem
    if kept_id(stack) == number:
        disk.remove_file(node_env(stack))
    return {"removed": removed}


def _api(stack: Stack, payload: Mapping[str, Any]) -> WorkerApi:
    url = payload.get("server_url")
    if not url:
        place = driver(stack).address(stack, live_slot(stack)) if stack.installed else None
        if place is None:
            raise refused("server_url: not given, and no server container runs on this host")
        url = f"http://{place[0]}:{place[1]}"
    ca = payload.get("ca")
    return WorkerApi(str(url), verify=bool(payload.get("verify")), ca=str(ca) if ca else None)


COMMANDS = {"register": register, "worker": worker, "unregister": unregister}
