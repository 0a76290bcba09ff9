"""A host's disk: a writable overlay on the shared image, and taking it away without a trace."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from stackpin.errors import StackpinError
from stackpin.lab.commands import run
from stackpin.lab.paths import MachineNames

__all__ = ["mount_disk", "remove_tree", "unmount_below"]


def mounts_below(path: Path, table: Path = Path("/proc/mounts")) -> list[Path]:
    """Mount points at or below `path`, deepest first."""
    found = []
    for line in table.read_text().splitlines():
        # The kernel writes a space in a name as \040.
        where = Path(line.split()[1].replace("\\040", " "))
        if where == path or path in where.parents:
            found.append(where)
    return sorted(found, key=lambda where: len(where.parts), reverse=True)


def mount_disk(names: MachineNames, layers: Sequence[Path]) -> None:
    """Mount the host's root over the image `layers` (lowest first); kept when already mounted."""
    if mounts_below(names.root):
        return
    names.root.mkdir(parents=True, exist_ok=True)
    names.disk.mkdir(exist_ok=True)
    try:
        _overlay(names, layers)
    except StackpinError:
        if mounts_below(names.disk):
            raise
        # Such as a lab directory that lies on an overlay itself: the disk then lives in memory.
        run("mount", "-t", "tmpfs", "-o", "mode=0700", "stackpin-lab", str(names.disk))
        _overlay(names, layers)


def _overlay(names: MachineNames, layers: Sequence[Path]) -> None:
    upper, work = names.disk / "upper", names.disk / "work"
    for directory in (upper, work):
        directory.mkdir(exist_ok=True, mode=0o755)
    lower = ":".join(str(layer) for layer in reversed(layers))
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    run("mount", "-t", "overlay", "stackpin-lab", "-o", options, str(names.root))


def unmount_below(path: Path) -> None:
    """Unmount everything at or below `path`; fine when nothing is mounted there."""
    for where in mounts_below(path):
        _unmount(where)


@retry(
    stop=stop_after_delay(10),
    wait=wait_fixed(0.1),
    retry=retry_if_exception_type(StackpinError),
    reraise=True,
)
def _unmount(where: Path) -> None:
    # A host that has just been killed may hold its root for a moment longer.
    run("umount", str(where))


def remove_tree(path: Path) -> None:
    """Remove a directory of the lab, after unmounting what is in it."""
    unmount_below(path)
    if path.exists():
        shutil.rmtree(path)
