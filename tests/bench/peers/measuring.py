"""What one run costs: seconds, processor time here and there, memory, and what sshd was asked."""

from __future__ import annotations

import contextlib
import re
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stackpin.lab import Lab
from stackpin.lab.processes import HostGroup, lab_group
from tests.bench.peers.tools import Place, Task, Tool, environment
from tests.lab.project import REPOSITORY

__all__ = ["LOUD_SSHD", "Asked", "Run", "Spent", "asked", "run", "spent"]

SAMPLE_SECONDS = 0.05
TIMEOUT = 900
# Each command, shell and subsystem asked of sshd is a line then.
LOUD_SSHD = "echo 'LogLevel VERBOSE' >/etc/ssh/sshd_config.d/00-bench.conf && systemctl reload ssh"


@dataclass(frozen=True)
class Run:
    """One run of a tool.

    `cpu` are seconds of all its processes, `host_cpu` of all hosts together; `memory` is its
    highest sum of proportional set sizes in bytes, where it was sampled.
    """

    wall: float
    cpu: float
    host_cpu: float
    changed: int
    memory: int | None = None


@dataclass(frozen=True)
class Asked:
    """What the hosts' sshd saw of user deploy, of all hosts together."""

    connections: int
    execs: int


@dataclass(frozen=True)
class Spent:
    """What one program took: as in Run, and what it wrote."""

    wall: float
    cpu: float
    memory: int | None
    done: subprocess.CompletedProcess[str]


def spent(
    lab: Lab, argv: Sequence[str], folder: Path, env: Mapping[str, str], *, sample: bool = False
) -> Spent:
    """Run a program in a control group of its own to its end."""
    with _group(lab) as group:
        # The shell enters the group and becomes the tool: nothing of it runs outside.
        enter = ["sh", "-c", 'echo $$ >"$0" && exec "$@"', str(group / "cgroup.procs")]
        with _sampled(group if sample else None) as peak:
            started = time.monotonic()
            done = subprocess.run(
                [*enter, *argv],
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=TIMEOUT,
            )
            wall = time.monotonic() - started
        return Spent(wall, _cpu(group), peak[0] if sample else None, done)


def run(tool: Tool, place: Place, task: Task, edition: int, *, sample: bool = False) -> Run:
    """Run a tool to its end; RuntimeError with its output when it fails."""
    command = tool.command(place, task, edition)
    before = _host_cpu(place)
    one = spent(place.lab, command.argv, REPOSITORY, environment(command), sample=sample)
    if one.done.returncode != 0:
        text = one.done.stdout + one.done.stderr
        raise RuntimeError(f"{tool.name}: exit {one.done.returncode}\n{text}")
    host_cpu = _host_cpu(place) - before
    return Run(one.wall, one.cpu, host_cpu, tool.changed(one.done.stdout), one.memory)


@contextmanager
def asked(place: Place) -> Iterator[list[Asked]]:
    """Count what happens inside; the list has the answer afterwards."""
    found: list[Asked] = []
    with ThreadPoolExecutor(10) as pool:
        marks = list(pool.map(lambda host: place.lab.run(host, MARK).stdout.strip(), place.hosts))
        yield found
        logs = list(
            pool.map(lambda host, mark: _log(place.lab, host.name, mark), place.hosts, marks)
        )
    text = "".join(logs)
    found.append(
        Asked(
            len(re.findall(r"^Accepted \S+ for deploy ", text, re.M)),
            len(re.findall(r"^Starting session: .* for deploy from ", text, re.M)),
        )
    )


MARK = "journalctl -q -n 0 --show-cursor | sed -n 's/^-- cursor: //p'"


def _log(lab: Lab, host: str, mark: str) -> str:
    command = "journalctl --sync; journalctl -q -o cat -t sshd -t sshd-session --after-cursor="
    return lab.run(host, f"{command}'{mark}'").stdout


@contextmanager
def _group(lab: Lab) -> Iterator[Path]:
    """Make a cgroup for one run; what the tool leaves running in it is ended."""
    group = HostGroup(lab_group(lab.paths.lab_id) / "operator")
    group.kill()
    group.create()
    inside = group.path / "run"
    inside.mkdir()
    try:
        yield inside
    finally:
        group.kill()


def _cpu(group: Path) -> float:
    used = re.search(r"^usage_usec (\d+)", (group / "cpu.stat").read_text(), re.M)
    assert used
    return int(used[1]) / 1e6


def _host_cpu(place: Place) -> float:
    paths, state = place.lab.paths, place.lab.state()
    numbers = [state.host(host.name).number for host in place.hosts]
    return sum(_cpu(lab_group(paths.lab_id) / str(number)) for number in numbers)


@contextmanager
def _sampled(group: Path | None) -> Iterator[list[int]]:
    """Sample the memory of all processes of the group, if any; the list holds the peak."""
    peak, ended = [0], threading.Event()
    if group is None:
        yield peak
        return

    def watch() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            peak[0] = max(peak[0], sum(map(_memory, (group / "cgroup.procs").read_text().split())))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def _memory(pid: str) -> int:
    # It may have ended in the meantime.
    with contextlib.suppress(OSError):
        found = re.search(r"^Pss: +(\d+) kB", Path("/proc", pid, "smaps_rollup").read_text(), re.M)
        return int(found[1]) * 1024 if found else 0
    return 0
