"""Debian packages: install what is missing, touch nothing that is there."""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from facts.packages import Packages
from operations.notes import Change, note
from operations.program import Commands

# The lock timeout waits out unattended-upgrades instead of failing half way.
APT = "DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300"


@operation()
def installed(names: Sequence[str]) -> Commands:
    """Make sure the packages `names` (real ones, not virtual) are installed, in any version.

    The package lists are refreshed only when something is missing.
    """
    present = host.get_fact(Packages, names=sorted(names))
    missing = sorted(set(names) - set(present))
    if not missing:
        host.noop(f"{len(names)} packages are installed")
        return
    for package in missing:
        note(Change("package", package, None, "installed"))
    yield StringCommand(
        f"{APT} update && {APT} install --no-install-recommends",
        *(QuoteString(package) for package in missing),
    )
