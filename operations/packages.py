"""Packages: install what is missing and what is pinned to another version, touch nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from facts.packages import Packages
from operations.notes import Change, note
from operations.program import Commands
from stackpin.config.packages import wanted

LOCK_SECONDS = 300  # unattended-upgrades may be at work
# Who holds a lock of dpkg or of apt's lists: apt itself waits for the first only. Read from the
# kernel, since fuser is not everywhere, and nothing is locked by asking.
_HOLDER = (
    "for p in $(awk '$2 == \"POSIX\" {print $5}' /proc/locks | sort -u); do"
    " if readlink /proc/$p/fd/* 2>/dev/null"
    " | grep -qE '^/var/lib/(dpkg/lock(-frontend)?|apt/lists/lock)$';"
    ' then echo "$(cat /proc/$p/comm) (pid $p)"; break; fi; done'
)
_WAIT = (
    f'holder() {{ {_HOLDER}; }}; waited=0; while h=$(holder); [ -n "$h" ]; do'
    f' if [ $waited -ge {LOCK_SECONDS} ]; then echo "package lock: held by $h for {LOCK_SECONDS} s,'
    ' expected free; wait until it ends or see what it does, then run again" >&2; exit 1; fi;'
    " sleep 2; waited=$((waited + 2)); done"
)
_APT = "DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=60"
INSTALL = {
    # The lists are refreshed only when there is something to install.
    "apt": f"{_WAIT}; {_APT} update && {_APT} install --no-install-recommends --allow-downgrades",
    # dnf waits for its lock by itself, and says for whom.
    "dnf": "dnf -q -y --setopt=install_weak_deps=False install",
}


@operation()
def installed(names: Sequence[str]) -> Commands:
    """Make sure the packages `names` (real ones, not virtual; Debian's names) are installed.

    `name=version` and `name=prefix*` pin a version: another one that is installed is replaced,
    also by an older one. What is not pinned stays in the version it has.
    """
    declared = wanted(names)
    native = {one: [package.native(one) for package in declared] for one in INSTALL}
    found = host.get_fact(Packages, **native)
    manager = found.manager or "apt"
    present = {package: found.versions.get(package.native(manager)) for package in declared}
    due = [
        package
        for package, version in present.items()
        if version is None or not package.accepts(manager, version)
    ]
    if not due:
        host.noop(f"{len(declared)} packages are installed")
        return
    for package in due:
        note(Change("package", package.name, present[package], package.pin or "installed"))
    if found.manager is None:
        yield StringCommand(
            "echo 'packages: found neither apt nor dnf on this host, expected one; install"
            f" {', '.join(package.name for package in due)} by hand' >&2; exit 1"
        )
        return
    yield StringCommand(
        INSTALL[manager], *(QuoteString(package.argument(manager)) for package in due)
    )
