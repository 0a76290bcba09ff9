"""The lab's memory: lab.json, written before each step so that a crash leaves nothing unknown."""

import os
from collections.abc import Sequence
from ipaddress import IPv4Network
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from stackpin.errors import Refused, StackpinError
from stackpin.lab.paths import FIRST_HOST_NUMBER

__all__ = [
    "HostState",
    "LabState",
    "add_hosts",
    "add_named",
    "fleet_names",
    "plan_hosts",
    "read_state",
    "write_state",
]


class HostState(BaseModel):
    """One host: `number` is the last octet of its address, `started` the start time of `pid`.

    `layers` are the image directories below its disk, lowest first. With `docker` it has Docker's
    packages and a directory for Docker's data.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    number: int
    address: str
    pid: int | None = None
    started: int | None = None
    docker: bool = False
    release: str
    layers: list[Path] = []


class LabState(BaseModel):
    """One lab; `release` is the Debian release of hosts that were added without naming one."""

    model_config = ConfigDict(extra="forbid")

    version: int = 2
    subnet: IPv4Network
    release: str
    hosts: list[HostState] = []

    @property
    def gateway(self) -> str:
        """The machine's own address on the bridge."""
        return str(self.subnet.network_address + 1)

    def host(self, name: str) -> HostState:
        """Find the host of that name; StackpinError naming those there are."""
        for host in self.hosts:
            if host.name == name:
                return host
        known = ", ".join(host.name for host in self.hosts) or "none"
        raise StackpinError(f"no host {name!r} in this lab; there are: {known}")


def read_state(path: Path) -> LabState | None:
    """Read the lab's state, None without a lab; StackpinError when the file cannot be used."""
    try:
        return LabState.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise StackpinError(f"{path} belongs to root: run this as root (sudo)") from error
    except ValidationError as error:
        raise StackpinError(
            f"{path} is damaged ({error.error_count()} problems): "
            "remove the lab with `stackpin lab down`, then start it again"
        ) from error


def write_state(path: Path, state: LabState) -> None:
    """Replace the file in one step, readable by root only."""
    draft = path.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(state.model_dump_json(indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def plan_hosts(
    state: LabState,
    count: int,
    prefix: str,
    names: Sequence[str] = (),
    *,
    docker: bool = False,
    release: str | None = None,
) -> None:
    """Plan the hosts of these `names`, or, without any, hosts until there are `count`."""
    if names:
        add_named(state, names, docker=docker, release=release)
    else:
        add_hosts(state, count, prefix, docker=docker, release=release)


def add_hosts(
    state: LabState, count: int, prefix: str, *, docker: bool = False, release: str | None = None
) -> None:
    """Plan new hosts until there are `count`; a name or address in use is never given twice.

    With `docker` only hosts that have Docker count, with `release` only those that run it.
    """
    while sum(not _lacking(host, docker, release) for host in state.hosts) < count:
        names = {host.name for host in state.hosts}
        name = next(f"{prefix}{i}" for i in range(1, 255) if f"{prefix}{i}" not in names)
        add_host(state, name, docker=docker, release=release)


def add_named(
    state: LabState, names: Sequence[str], *, docker: bool = False, release: str | None = None
) -> None:
    """Plan the hosts of these names; Refused when one is there that lacks what it needs."""
    there = {host.name: host for host in state.hosts}
    for name in names:
        if name not in there:
            add_host(state, name, docker=docker, release=release)
        elif lacking := _lacking(there[name], docker, release):
            raise Refused(
                f"{name} was started without {lacking}: remove it with `stackpin lab down {name}`, "
                "then try again"
            )


def _lacking(host: HostState, docker: bool, release: str | None) -> str | None:
    if docker and not host.docker:
        return "Docker"
    return release if release not in {None, host.release} else None


def fleet_names(nodes: int) -> list[str]:
    """Name the hosts of a fleet: its registry, its server, and that many nodes."""
    return ["registry", "server", *(f"node{number}" for number in range(1, nodes + 1))]


def add_host(
    state: LabState, name: str, *, docker: bool = False, release: str | None = None
) -> None:
    """Plan one new host with the first free address; Refused when the lab is full."""
    numbers = {host.number for host in state.hosts}
    number = next((n for n in range(FIRST_HOST_NUMBER, 255) if n not in numbers), None)
    if number is None:
        raise Refused("a lab holds 244 hosts at most")
    address = str(state.subnet.network_address + number)
    wanted = release or state.release
    state.hosts.append(
        HostState(name=name, number=number, address=address, docker=docker, release=wanted)
    )
