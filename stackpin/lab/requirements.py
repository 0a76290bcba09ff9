"""Can this machine carry a lab? Refuse with the remedy before anything is touched."""

import os
import shutil
import sys
from pathlib import Path

from stackpin.errors import Refused, StackpinError
from stackpin.lab.commands import Report, run, stream
from stackpin.lab.paths import LabPaths

__all__ = ["check_machine", "check_root", "missing_packages"]

PROGRAMS = {
    "debootstrap": "debootstrap",
    "systemd-nspawn": "systemd-container",
    "iptables": "iptables",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "unshare": "util-linux",
    "mount": "mount",
    "chroot": "coreutils",
}
"""Program -> Debian package it comes in."""

NEEDED_DISK = 2 * 1024**3
# root's own PATH may lack sbin when Stackpin is started by a service or through su.
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def check_root() -> None:
    """Refused unless this is Linux and we are root."""
    if not sys.platform.startswith("linux"):
        raise Refused("the lab needs Linux: run it on a Linux machine or in a Linux VM, as root")
    if os.geteuid() != 0:
        raise Refused("the lab starts machines and networks: run it as root (sudo stackpin lab …)")
    if SBIN not in os.environ.get("PATH", ""):
        os.environ["PATH"] = f"{os.environ.get('PATH', '/usr/bin:/bin')}:{SBIN}"


def missing_packages() -> list[str]:
    """Debian packages to install before a lab can run here."""
    return sorted({package for program, package in PROGRAMS.items() if not shutil.which(program)})


def check_machine(paths: LabPaths, *, install: bool, report: Report) -> None:
    """Refused, with the remedy, when this machine cannot carry a lab.

    With `install` the missing packages are installed first (that is all it installs).
    """
    check_root()
    if missing := missing_packages():
        command = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
        if not install:
            raise Refused(
                f"the lab needs {', '.join(missing)}: run `{' '.join(command)}`, "
                "or `stackpin lab up --install` to have it done"
            )
        _install(command, report)
    check_kernel()
    check_disk(paths.cache)
    check_disk(paths.home)


def check_kernel(
    filesystems: Path = Path("/proc/filesystems"), mounts: Path = Path("/proc/mounts")
) -> None:
    """Refused without overlayfs or a mounted cgroup2 hierarchy."""
    if "overlay" not in filesystems.read_text().split() and shutil.which("modprobe"):
        run("modprobe", "overlay", check=False)
    if "overlay" not in filesystems.read_text().split():
        raise Refused("this kernel has no overlayfs: load it with `modprobe overlay`")
    if not any(line.split()[2] == "cgroup2" for line in mounts.read_text().splitlines()):
        raise Refused(
            "no cgroup2 hierarchy is mounted: run "
            "`mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified`"
        )


def check_disk(path: Path, needed: int = NEEDED_DISK) -> None:
    """Refused when the file system that would hold `path` has less than `needed` bytes free."""
    there = path
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if free < needed:
        raise Refused(
            f"{there} has {free / 1024**3:.1f} GB free, the lab needs {needed / 1024**3:.0f} GB: "
            "make room, or set STACKPIN_LAB_DIR and STACKPIN_LAB_CACHE to a larger disk"
        )


def _install(command: list[str], report: Report) -> None:
    if not shutil.which("apt-get"):
        raise Refused(f"no apt-get here: install these packages yourself: {', '.join(command[4:])}")
    log = Path("/var/log/stackpin-lab-install.log")
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    stream(["apt-get", "update"], log, report, env)
    stream(command, log, report, env)
    if left := missing_packages():
        raise StackpinError(f"apt-get installed nothing that gives {', '.join(left)}; see {log}")
