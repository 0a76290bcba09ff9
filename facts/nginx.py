"""What nginx on a host was set up with."""

# ruff: noqa: D102 - what default, command and process do is told once, by pyinfra
from __future__ import annotations

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
