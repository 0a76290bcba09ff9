"""Keeps one lab host running: starts its systemd-nspawn, and again when the host reboots.

Run as a file, with the standard library only: one of these stays in memory per host.
Usage: keeper.py CGROUP PROGRAM [ARGUMENT...]; it begins when it reads a byte from stdin.
"""

import os
import subprocess
import sys
from pathlib import Path

REBOOT = 133
"""systemd-nspawn's exit code for "the host asked for a reboot" (it leaves restarting to us)."""


def join(cgroup: Path) -> None:
    """Move this process into `cgroup`, made if needed."""
    cgroup.mkdir(exist_ok=True)
    (cgroup / "cgroup.procs").write_text(str(os.getpid()))


def main(cgroup: str, *command: str) -> int:
    """Run `command` until it ends otherwise than by a reboot; returns its exit code."""
    # Whoever starts us first writes down that we exist. If it dies before, we read the end of
    # the file and leave: nothing ever runs that `stackpin lab down` could not find.
    if not os.read(0, 1):
        return 1
    home = Path(cgroup)
    while True:
        # Each host needs a group of its own: nspawn puts the host's systemd into "payload" below
        # the group it starts in, and two hosts in one group end each other's services. The keeper
        # stays beside that group: one with processes of its own cannot pass controllers on.
        join(home / "machine")
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        join(home / "keeper")
        code = child.wait()
        if code != REBOOT:
            return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
