"""Programs that must not outlive the host program."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

PROGRAM = "from stackpin.host.system import run; run(['sleep', '60'], bound=True)"


def children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in path.read_text().split()]


def test_a_killed_host_program_leaves_no_docker_at_work() -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM]) as parent:
        until = time.monotonic() + 20
        while not (found := children(parent.pid)) and time.monotonic() < until:
            time.sleep(0.05)
        assert found
        command = Path(f"/proc/{found[0]}/cmdline")
        while b"sleep" not in command.read_bytes() and time.monotonic() < until:
            time.sleep(0.05)
        parent.kill()
    while command.exists() and command.read_bytes() and time.monotonic() < until:
        time.sleep(0.05)
    assert not command.exists() or not command.read_bytes()
