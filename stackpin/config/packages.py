"""How packages are declared: a name, or a name with the version it is pinned to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["DNF", "SPEC", "Wanted", "wanted"]

DNF = {
    "docker.io": "moby-engine",
    "iproute2": "iproute",
    "sqlite3": "sqlite",
}
"""Debian's name -> Fedora's, where they differ. Other names are the same, or the host's own."""

_NAME = r"[A-Za-z0-9][A-Za-z0-9+._-]*"
_VERSION = r"[0-9A-Za-z][0-9A-Za-z.+~:^_-]*\*?"


SPEC = re.compile(f"{_NAME}(={_VERSION})?")
"""`name`, `name=version` or `name=prefix*`; the name is Debian's."""


class Wanted(NamedTuple):
    """One package; `pin` is None for any version."""

    name: str
    pin: str | None = None

    def native(self, manager: str) -> str:
        """Name it as `manager` does."""
        return DNF.get(self.name, self.name) if manager == "dnf" else self.name

    def accepts(self, manager: str, version: str) -> bool:
        """Tell whether an installed `version`, as `manager` writes it, is the wanted one.

        apt compares the whole version; dnf also takes one without its epoch and its release.
        """
        if self.pin is None:
            return True
        forms = {version}
        if manager == "dnf":
            forms |= {form.split(":", 1)[-1] for form in forms}
            forms |= {form.rsplit("-", 1)[0] for form in forms}
        if self.pin.endswith("*"):
            return any(form.startswith(self.pin[:-1]) for form in forms)
        return self.pin in forms

    def argument(self, manager: str) -> str:
        """Write it as `manager` reads it on its command line."""
        joint = "-" if manager == "dnf" else "="
        return self.native(manager) + (f"{joint}{self.pin}" if self.pin else "")


def wanted(specs: Iterable[str]) -> list[Wanted]:
    """Read declared packages, sorted; of several about one name the last pin counts."""
    found: dict[str, Wanted] = {}
    for spec in specs:
        name, _, pin = spec.partition("=")
        if pin or name not in found:
            found[name] = Wanted(name, pin or None)
    return [found[name] for name in sorted(found)]
