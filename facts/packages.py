"""Packages of the host's own manager: apt on Debian and Ubuntu, dnf on Fedora and its kin."""

# ruff: noqa: D102 - what default, command and process do is told once, by pyinfra
from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from pyinfra.api.facts import FactBase


@dataclass(frozen=True)
class Installed:
    """What a host has: its `manager` (None: neither is there) and name -> version of those asked.

    Versions are as the manager writes them: dpkg's, or rpm's epoch:version-release.
    """

    manager: Literal["apt", "dnf"] | None = None
    versions: dict[str, str] = field(default_factory=dict)


class Packages(FactBase[Installed]):
    """Which of these are fully installed, in one command: names for apt, names for dnf."""

    @staticmethod
    def default() -> Installed:
        return Installed()

    def command(self, apt: Sequence[str], dnf: Sequence[str]) -> str:
        # Either family ships the other's tools as a package: what tells is whose record is in use.
        # ${...} is dpkg-query's own syntax, so single quotes on purpose.
        return (
            "if [ -s /var/lib/dpkg/status ]; then echo apt;"
            " dpkg-query -W -f '${db:Status-Abbrev}\\t${Package}\\t${Version}\\n'"
            f" {shlex.join(apt)} 2>/dev/null; elif command -v dnf >/dev/null; then echo dnf;"
            f" rpm -q --qf 'ii \\t%{{NAME}}\\t%{{EVR}}\\n' {shlex.join(dnf)} 2>/dev/null; fi; true"
        )

    def process(self, output: list[str]) -> Installed:
        first = output[0].strip() if output else ""
        manager: Literal["apt", "dnf"] | None = None
        if first in ("apt", "dnf"):
            manager = "apt" if first == "apt" else "dnf"
        found = {}
        for line in output[1:]:
            status, _, rest = line.partition("\t")
            package, _, version = rest.partition("\t")
            # "ii " = wanted and installed, "hi " = held and installed; rpm tells of absent ones
            if status.strip() in ("ii", "hi"):
                found[package] = version
        return Installed(manager, found)
