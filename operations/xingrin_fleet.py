"""The other hosts of the inventory, as a deploy file of one host must know them."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any
from weakref import WeakKeyDictionary

from pyinfra.context import host

from facts.docker import Volumes
from facts.generated import Names
from operations.refusals import refuse
from operations.xingrin_content import SECRETS
from stackpin.config.load import load
from stackpin.config.problems import ConfigProblems
from stackpin.config.xingrin import XingrinServer, XingrinWorker
from stackpin.config.xingrin_fleet import (
    SERVER_GROUP,
    WORKER_GROUP,
    Member,
    node_address,
    problems,
)
from stackpin.errors import Refused

# Every host's deploy file needs the whole fleet: judged once for an inventory, not once for each.
_members: WeakKeyDictionary[Any, dict[str, Member]] = WeakKeyDictionary()


def require_fleet() -> dict[str, Member]:
    """Return all hosts of the inventory by name. Raises ConfigProblems when they do not fit."""
    inventory = host.inventory
    if inventory not in _members:
        found = {other.name: _member(other) for other in inventory}
        wrong = problems(found)
        if wrong:
            raise ConfigProblems(wrong)
        _members[inventory] = found
    return _members[inventory]


def node_addresses(members: dict[str, Member]) -> list[str]:
    """IP addresses of all nodes, sorted. Raises Refused for a name that does not resolve."""
    found: set[str] = set()
    for name, member in members.items():
        if member.worker is not None:
            found |= _resolved(name, node_address(member.worker, member.address))
    return sorted(found)


def require_secrets_of_database(settings: XingrinServer) -> None:
    """Refuse to make up a password while a database exists that was made with another one."""
    if not settings.local_database or settings.db_password is not None:
        return
    volume = f"{settings.project}_postgres_data"
    if "DB_PASSWORD" in host.get_fact(Names, path=SECRETS) or volume not in host.get_fact(Volumes):
        return
    refuse(
        SECRETS,
        f"no DB_PASSWORD there, but a database in the volume {volume}",
        "the password that database was made with",
        "Put the file back from a backup, or set xingrin_db_password.",
    )


def _member(other: Any) -> Member:  # noqa: ANN401 - pyinfra's host
    data: dict[str, object] = dict(other.data.dict())
    data.pop("stackpin_lock_token", None)
    settings: dict[str, object] = {}
    if SERVER_GROUP in other.groups:
        settings["xingrin-server"] = load(XingrinServer, "xingrin_", data, other.name)
    if WORKER_GROUP in other.groups:
        settings["xingrin-worker"] = load(XingrinWorker, "xingrin_", data, other.name)
    return Member(
        tuple(other.groups),
        settings,
        str(data.get("ssh_hostname") or other.name),
        int(str(data.get("ssh_port") or 22)),
    )


def _resolved(name: str, address: str) -> set[str]:
    try:
        return {str(ipaddress.ip_address(address))}
    except ValueError:
        pass
    try:
        answers = socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Refused(
            f"{name}: xingrin_node_address: found {address}, which does not resolve ({error}), "
            "expected an address the server's firewall can let through. Set the IP address."
        ) from error
    return {str(answer[4][0]) for answer in answers}
