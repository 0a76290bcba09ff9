"""A node's place on the server: made through its API before the agent starts."""

from __future__ import annotations

from pyinfra.api.operation import operation
from pyinfra.context import host

from facts.docker import Worker
from operations.notes import Change, note
from operations.program import Commands, call

STACK = "xingrin-worker"


@operation()
def registered(  # noqa: PLR0917 - what a registration is
    server_url: str, node: str, address: str, ssh_port: int, username: str, ca: str | None = None
) -> Commands:
    """Have the server know this node, and the node its id.

    An agent without an id would register itself, as a node on the server's own host. No password
    goes along: the server could otherwise update agents by itself. `ca` is PEM text the server's
    certificate is checked with; None takes any, as the agent does. A node that has its id keeps it
    when the server cannot be asked.
    """
    found = host.get_fact(Worker, server_url=server_url, verify=ca is not None, ca=ca)
    if found.id is not None and found.known is not False:
        asked = "" if found.known else ", though the server could not be asked"
        host.noop(f"{node} is number {found.id}{asked}")
        return
    before = None if found.id is None else f"number {found.id}, which the server does not know"
    note(Change("service", f"registration of {node}", before, f"registered at {server_url}"))
    yield call(
        "register",
        STACK,
        {
            "server_url": server_url,
            "name": node,
            "address": address,
            "ssh_port": ssh_port,
            "username": username,
            "verify": ca is not None,
            "ca": ca,
        },
    )
