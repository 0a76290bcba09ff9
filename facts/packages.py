"""Debian packages."""

# ruff: noqa: D102 - what default, command and process do is told once, by pyinfra
from __future__ import annotations

import shlex

from pyinfra.api.facts import FactBase


class Packages(FactBase[dict[str, str]]):
    """Name -> version of those of `names` that are fully installed. One dpkg-query."""

    @staticmethod
    def default() -> dict[str, str]:
        return {}

    def command(self, names: list[str]) -> str:
        wanted = " ".join(shlex.quote(name) for name in names)
        # shellcheck-style note: ${...} is dpkg-query's syntax, so single quotes on purpose
        return (
            "dpkg-query -W -f '${db:Status-Abbrev}\\t${Package}\\t${Version}\\n'"
            f" {wanted} 2>/dev/null || true"
        )

    def process(self, output: list[str]) -> dict[str, str]:
        found = {}
        for line in output:
            status, _, rest = line.partition("\t")
            package, _, version = rest.partition("\t")
            # "ii " = wanted and installed, "hi " = held and installed
            if status.strip() in ("ii", "hi"):
                found[package] = version
        return found
