"""What only all hosts of an inventory together can show to be wrong."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from stackpin.config.problems import Problem
from stackpin.config.xingrin import (
    POSTGRES_PORT,
    REDIS_PORT,
    XingrinBase,
    XingrinServer,
    XingrinWorker,
)

__all__ = ["SERVER_GROUP", "WORKER_GROUP", "Member", "node_address", "problems"]

SERVER_GROUP, WORKER_GROUP = "xingrin", "workers"
# Names that mean another machine on every machine: a node could not find the server by them.
UNUSABLE = frozenset({"server", "localhost"})
SSH = 22


@dataclass(frozen=True)
class Member:
    """A host: its inventory groups, its settings by stack part, address and port of its SSH."""

    groups: Sequence[str]
    settings: Mapping[str, object]
    address: str
    ssh_port: int = SSH

    @property
    def server(self) -> XingrinServer | None:
        """Its settings as the server's host."""
        found = self.settings.get("xingrin-server")
        inside = SERVER_GROUP in self.groups
        return found if inside and isinstance(found, XingrinServer) else None

    @property
    def worker(self) -> XingrinWorker | None:
        """Its settings as a node."""
        found = self.settings.get("xingrin-worker")
        inside = WORKER_GROUP in self.groups
        return found if inside and isinstance(found, XingrinWorker) else None


def node_address(settings: XingrinBase, address: str) -> str:
    """Return the address a node is registered with; `address` is that of its SSH."""
    return settings.node_address or address


def problems(hosts: Mapping[str, Member]) -> list[Problem]:
    """Judge all hosts of an inventory, by name. Hosts of other stacks are left alone."""
    servers = {name: m.server for name, m in hosts.items() if m.server}
    nodes = {name: m.worker for name, m in hosts.items() if m.worker}
    return [
        *_one_server(servers),
        *_public_host({**servers, **nodes}, nodes),
        *_public_port(hosts, servers),
        *_local_nodes(hosts, servers, nodes),
        *_agreeing(servers, nodes),
        *_twice(hosts, nodes),
    ]


def _one_server(servers: Mapping[str, XingrinServer]) -> Iterator[Problem]:
    if len(servers) > 1:
        yield Problem(
            "",
            "group xingrin",
            "",
            f"{len(servers)} hosts ({', '.join(servers)})",
            "one: an inventory is one fleet",
            "Give every server an inventory of its own.",
        )


def _public_host(
    members: Mapping[str, XingrinBase], nodes: Mapping[str, XingrinWorker]
) -> Iterator[Problem]:
    if not nodes:
        return
    for name, settings in members.items():
        if settings.public_host.lower() in UNUSABLE or _loopback(settings.public_host):
            yield Problem(
                "",
                "xingrin_public_host",
                name,
                settings.public_host,
                f"a name or address that the {len(nodes)} nodes of this inventory can reach",
                "Set the server's address as its nodes see it.",
            )


def _public_port(
    hosts: Mapping[str, Member], servers: Mapping[str, XingrinServer]
) -> Iterator[Problem]:
    """Find a port that is taken: the firewall would close SSH to all but the nodes."""
    for name, settings in servers.items():
        taken = {POSTGRES_PORT: "the database", REDIS_PORT: "the queue"}
        taken |= {SSH: "SSH", hosts[name].ssh_port: "SSH"}
        if settings.public_port in taken:
            yield Problem(
                "",
                "xingrin_public_port",
                name,
                f"{settings.public_port}, the port of {taken[settings.public_port]}",
                "a port of its own: the host's firewall lets only the nodes reach it",
                "Choose another one, such as 8083.",
            )


def _loopback(name: str) -> bool:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _local_nodes(
    hosts: Mapping[str, Member],
    servers: Mapping[str, XingrinServer],
    nodes: Mapping[str, XingrinWorker],
) -> Iterator[Problem]:
    """Find nodes that are the server's host: its agent is part of the server's own stack."""
    taken = {hosts[name].address: name for name in servers}
    taken |= {settings.public_host: name for name, settings in servers.items()}
    for name, settings in nodes.items():
        address = node_address(settings, hosts[name].address)
        # One machine may serve SSH for several hosts on different ports: only what the node is
        # registered with tells machines apart.
        server = name if name in servers else taken.get(address)
        if server is not None:
            yield Problem(
                "",
                "group workers",
                name,
                f"the host of the server ({server}, {address})",
                "nodes on other machines: the server's host has its agent already, and both would "
                "share one container name and one data directory",
                f"Take {name} out of the group workers.",
            )


def _agreeing(
    servers: Mapping[str, XingrinServer], nodes: Mapping[str, XingrinWorker]
) -> Iterator[Problem]:
    for server, wanted in servers.items():
        for name, settings in nodes.items():
            for field in ("version", "dev", "public_host", "public_port", "registry", "namespace"):
                if getattr(settings, field) != getattr(wanted, field):
                    yield Problem(
                        "",
                        f"xingrin_{field}",
                        name,
                        str(getattr(settings, field)),
                        f"{getattr(wanted, field)}, as on the server {server}",
                        "Set it once for all hosts, in the inventory's group data.",
                    )


def _twice(hosts: Mapping[str, Member], nodes: Mapping[str, XingrinWorker]) -> Iterator[Problem]:
    seen: dict[tuple[str, str], str] = {}
    for name, settings in nodes.items():
        address = node_address(settings, hosts[name].address)
        for variable, value in (
            ("xingrin_node_name", settings.node_name or name),
            ("xingrin_node_address", address),
        ):
            other = seen.setdefault((variable, value), name)
            if other != name:
                yield Problem(
                    "",
                    variable,
                    name,
                    f"{value}, which {other} has already",
                    "one of its own: the server tells nodes apart by it",
                    "Set another one for this host in the inventory.",
                )
