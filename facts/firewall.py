"""The rules the kernel has, not those in a file."""

# ruff: noqa: D102 - what default, command and process do is told once, by pyinfra
from __future__ import annotations

import shlex
from dataclasses import dataclass

from pyinfra.api.facts import FactBase


@dataclass(frozen=True)
class TableState:
    """A table of nftables: SHA-256 of its live listing (None: no such table), what was loaded.

    `loaded_file` and `loaded_listing` are what `operations.firewall` noted when it last loaded the
    table: digest of the file, and of the listing right after.
    """

    listing: str | None = None
    loaded_file: str | None = None
    loaded_listing: str | None = None


class Table(FactBase[TableState]):
    """State of `table` ("inet name"), with the note kept at `record`."""

    @staticmethod
    def default() -> TableState:
        return TableState()

    def command(self, table: str, record: str) -> str:
        return (
            f'if listing=$({list_command(table)}) && [ -n "$listing" ]; then'
            " printf 'live %s\\n' \"$(printf '%s\\n' \"$listing\" | sha256sum | cut -d' ' -f1)\";"
            f" fi; if [ -f {shlex.quote(record)} ]; then"
            f" printf 'loaded %s\\n' \"$(cat {shlex.quote(record)})\"; fi; true"
        )

    def process(self, output: list[str]) -> TableState:
        live, file, listing = None, None, None
        for line in output:
            words = line.split()
            if words[:1] == ["live"] and len(words) == 2:
                live = words[1]
            elif words[:1] == ["loaded"] and len(words) == 3:
                file, listing = words[1:]
        return TableState(live, file, listing)


def list_command(table: str) -> str:
    """Return the command that lists `table` without counters: equal rules are equal texts."""
    return f"nft -s list table {table} 2>/dev/null"
