"""Which processes belong to a lab host, and ending exactly those.

A host's processes all live in a cgroup of its own. A pid alone is never trusted: it is a lab
process only while its start time is the recorded one.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from stackpin.errors import StackpinError
from stackpin.lab.paths import MachineNames

__all__ = ["HostGroup", "lab_group", "start_time"]

LAB_GROUP = "stackpin-lab"


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None when there is no such process."""
    try:
        stat = Path("/proc", str(pid), "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may itself contain spaces and parentheses.
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def cgroup_mounts(
    kinds: Sequence[str] = ("cgroup", "cgroup2"), table: Path = Path("/proc/mounts")
) -> list[Path]:
    """List where cgroup hierarchies of these kinds are mounted."""
    rows = [line.split() for line in table.read_text().splitlines()]
    return [Path(where) for _device, where, kind, *_rest in rows if kind in kinds]


def cgroup_root(table: Path = Path("/proc/mounts")) -> Path:
    """Find cgroup2 (`/sys/fs/cgroup`, or `…/unified` beside cgroup v1); StackpinError without."""
    for where in cgroup_mounts(("cgroup2",), table):
        return where
    raise StackpinError("no cgroup2 hierarchy is mounted on this machine")


def lab_group(lab_id: str) -> Path:
    """Name the cgroup above all hosts of one lab."""
    return cgroup_root() / LAB_GROUP / lab_id


class HostGroup:
    """The processes of one host."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, names: MachineNames) -> "HostGroup":
        """Name the group of that host; it need not exist."""
        return cls(lab_group(names.lab_id) / str(names.number))

    def create(self) -> None:
        """Make the group and pass on what controllers there are (none beside cgroup v1)."""
        self.path.mkdir(parents=True, exist_ok=True)
        for parent in (self.path.parent.parent, self.path.parent, self.path):
            controllers = (parent / "cgroup.controllers").read_text().split()
            wanted = " ".join(f"+{name}" for name in controllers)
            if wanted:
                (parent / "cgroup.subtree_control").write_text(wanted)

    def adopt(self, pid: int) -> None:
        """Take the host's keeper into the group, so that `kill` reaches it."""
        keeper = self.path / "keeper"
        keeper.mkdir(exist_ok=True)
        (keeper / "cgroup.procs").write_text(str(pid))

    def init_pid(self) -> int | None:
        """Process 1 of the host as the machine numbers it; None while it is not running."""
        try:
            text = (self.path / "machine/payload/init.scope/cgroup.procs").read_text()
        except OSError:
            return None
        return int(text.split()[0]) if text.split() else None

    def empty(self) -> bool:
        """Tell whether no process is left."""
        try:
            return "populated 0" in (self.path / "cgroup.events").read_text()
        except OSError:
            return True

    def kill(self) -> None:
        """SIGKILL every process of the group, wait until they are gone (20 s), remove the group.

        It must go: Linux 6.18 also kills what is later started inside a group once killed.
        """
        if not self.empty():
            (self.path / "cgroup.kill").write_text("1")
        self._wait_empty()
        self._remove()

    @retry(
        stop=stop_after_delay(20),
        wait=wait_fixed(0.02),
        retry=retry_if_exception_type(StackpinError),
        reraise=True,
    )
    def _wait_empty(self) -> None:
        if not self.empty():
            raise StackpinError(f"processes of the lab do not end: see {self.path}/cgroup.procs")

    def _remove(self) -> None:
        """Remove the empty group, and those above it that nobody else uses."""
        root = cgroup_root()
        inside = self.path.relative_to(root)
        # Beside cgroup v1, nspawn also makes the same group in systemd's old hierarchy.
        for mount in cgroup_mounts():
            remove_groups(mount / inside)
            for above in inside.parents[:-1]:
                with contextlib.suppress(OSError):
                    (mount / above).rmdir()


@retry(stop=stop_after_delay(5), wait=wait_fixed(0.05), retry=retry_if_exception_type(OSError))
def remove_groups(path: Path) -> None:
    """Remove an empty cgroup and those below it, deepest first; fine when there is none."""
    if path.is_dir():
        for child in path.iterdir():
            if child.is_dir():
                remove_groups(child)
        path.rmdir()
