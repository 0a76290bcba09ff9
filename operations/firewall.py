"""A table of our own in nftables: who may reach which ports. Nobody else's rules are touched."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Sequence

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from facts.firewall import Table, list_command
from operations.entries import File
from operations.notes import Change, note
from operations.program import Commands
from operations.rendering import render

UNIT = "stackpin-firewall@{stack}.service"
UNIT_FILE = "/etc/systemd/system/stackpin-firewall@.service"


def table_name(stack: str) -> str:
    """Return the family and name of the stack's table."""
    return f"inet stackpin_{stack.replace('-', '_')}"


def rules_file(stack: str) -> str:
    """Path of the stack's rules."""
    return f"/etc/stackpin/{stack}/firewall.nft"


def rules(stack: str, ports: Sequence[int], sources: Sequence[str], bridges: Sequence[str]) -> str:
    """Text that replaces the stack's table at once: only `sources` reach the TCP `ports`.

    `sources` are addresses and networks, `bridges` interfaces let through beside loopback.
    """
    networks = [ipaddress.ip_network(source) for source in sources]
    v4 = [n for n in networks if isinstance(n, ipaddress.IPv4Network)]
    v6 = [n for n in networks if isinstance(n, ipaddress.IPv6Network)]
    return render(
        "xingrin/firewall.nft.j2",
        table=table_name(stack),
        ports=sorted(set(ports)),
        # Joined where they touch: nftables refuses intervals that overlap.
        v4=[_element(n) for n in ipaddress.collapse_addresses(v4)],
        v6=[_element(n) for n in ipaddress.collapse_addresses(v6)],
        bridges=["lo", *bridges],
    )


def entries(stack: str, text: str) -> list[File]:
    """Files of the firewall: the rules, and the unit that loads them before docker starts."""
    return [
        File(rules_file(stack), text, "0644"),
        File(UNIT_FILE, render("xingrin/stackpin-firewall@.service.j2")),
    ]


@operation()
def loaded(stack: str, text: str) -> Commands:
    """Have the kernel's table be what `text`, which lies in the stack's rules file, says.

    The kernel is asked: rules that somebody changed or flushed are loaded again. All rules are
    replaced in one transaction, so that no port is ever open in between.
    """
    record = f"/var/lib/stackpin/{stack}/firewall.loaded"
    table = table_name(stack)
    digest = hashlib.sha256(text.encode()).hexdigest()
    found = host.get_fact(Table, table=table, record=record)
    if found.listing and (found.loaded_file, found.loaded_listing) == (digest, found.listing):
        host.noop(f"table {table} is as declared")
        return
    if found.listing is None:
        before = None
    elif found.loaded_file == digest:
        before = "changed by someone"
    else:
        before = "of another declaration"
    note(Change("service", f"firewall table {table}", before, "as declared"))
    yield StringCommand(
        "nft -f",
        QuoteString(rules_file(stack)),
        f"&& printf '%s %s\\n' {digest} \"$({list_command(table)} | sha256sum | cut -d' ' -f1)\" >",
        QuoteString(f"{record}.new"),
        "&& mv -fT",
        QuoteString(f"{record}.new"),
        QuoteString(record),
    )


def _element(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> str:
    alone = network.num_addresses == 1
    return str(network.network_address) if alone else str(network)
