"""What nginx on a host was set up with."""

# ruff: noqa: D102 - what default, command and process do is told once, by pyinfra
from __future__ import annotations

import re

from pyinfra.api.facts import FactBase

DEFAULT_LINK = "/etc/nginx/sites-enabled/default"
DEFAULT_SITE = "/etc/nginx/sites-available/default"


class PackagedDefaultSite(FactBase[list[int]]):
    """Ports on which Debian's own default site listens; empty if absent, off or edited.

    Edited means: its MD5 is not the one dpkg recorded for the file it shipped.
    """

    @staticmethod
    def default() -> list[int]:
        return []

    def command(self) -> str:
        return (
            f'if [ "$(readlink -f {DEFAULT_LINK})" = {DEFAULT_SITE} ]; then'
            " shipped=$(dpkg-query -W -f '${Conffiles}\\n' nginx-common 2>/dev/null"
            f" | awk '$1 == \"{DEFAULT_SITE}\" {{ print $2 }}');"
            f' if [ "$(md5sum < {DEFAULT_SITE} | cut -d" " -f1)" = "$shipped" ]; then'
            " sed -nE 's/^[[:space:]]*listen[[:space:]]+(\\[::\\]:)?([0-9]+).*/\\2/p'"
            f" {DEFAULT_SITE}; fi; fi; true"
        )

    def process(self, output: list[str]) -> list[int]:
        return sorted({int(line) for line in output if line.strip().isdecimal()})


class Listening(FactBase[dict[str, list[int]]]):
    """TCP ports by the enabled configuration file that has nginx listen on them."""

    @staticmethod
    def default() -> dict[str, list[int]]:
        return {}

    def command(self) -> str:
        # One line a directive; comments first, which may hold anything. -s: no such file, no word.
        return (
            "for f in /etc/nginx/nginx.conf /etc/nginx/conf.d/*.conf /etc/nginx/sites-enabled/*;"
            ' do [ -f "$f" ] || continue; echo "file $f";'
            " sed 's/#.*//' \"$f\" | tr ';{}\\n' '\\n\\n\\n ' |"
            " sed -nE 's/^[[:space:]]*(listen[[:space:]].*)$/\\1/p'; done; true"
        )

    def process(self, output: list[str]) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        path = ""
        for line in output:
            kind, _, rest = line.partition(" ")
            if kind == "file":
                path = rest
            elif kind == "listen" and path and (port := _port(rest.split())) is not None:
                found.setdefault(path, []).append(port)
        return {name: sorted(set(ports)) for name, ports in found.items()}


def _port(words: list[str]) -> int | None:
    """Return the port of the words after `listen`; None for a socket and what is no address."""
    address = words[0] if words else "unix:"
    if address.startswith("unix:"):
        return None
    if address.isdecimal():
        return int(address)
    match = re.search(r"(?:\]|^[^:\[\]]+):(\d+)$", address)
    return int(match[1]) if match else 80  # an address alone
