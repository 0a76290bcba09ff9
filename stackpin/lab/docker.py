"""Docker's data on a lab host: a directory of the machine, bound into the host.

A host's root is an overlay, and Docker's own overlays cannot lie on one. Where the lab's directory
is on an overlay itself (a lab inside a container), the data lives in memory, like the disk then.
"""

from stackpin.errors import StackpinError
from stackpin.lab.commands import run
from stackpin.lab.disks import mounts_below
from stackpin.lab.paths import MachineNames

__all__ = ["DATA", "data_flags", "make_data"]

DATA = "/var/lib/docker"
"""Where Docker keeps images, containers and volumes on the host."""


def make_data(names: MachineNames) -> None:
    """Make the directory for the host's Docker data; one that is there is kept."""
    data = names.docker
    if mounts_below(data):
        return
    # 0710 root is what dockerd itself gives it.
    data.mkdir(exist_ok=True, mode=0o710)
    if not _carries_overlays(names):
        run("mount", "-t", "tmpfs", "-o", "mode=0710", "stackpin-lab", str(data))


def data_flags(names: MachineNames) -> tuple[str, ...]:
    """Give systemd-nspawn's flags that put the data into the host."""
    return (f"--bind={names.docker}:{DATA}",)


def _carries_overlays(names: MachineNames) -> bool:
    """Tell whether an overlay can be mounted with its upper directory beside the data."""
    # The disk's own mount has tried exactly that already.
    if mounts_below(names.disk):
        return False
    if not names.disk.exists():
        raise StackpinError(f"{names.disk} is missing: mount the disk before Docker's data")
    return True
