"""What each host of the lab is doing right now."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from stackpin.errors import StackpinError
from stackpin.lab.hosts import Lab
from stackpin.lab.ssh import LabHost, ssh_run
from stackpin.lab.state import HostState, LabState

__all__ = ["HostStatus", "lab_status"]

ASK_SECONDS = 3


@dataclass(frozen=True)
class HostStatus:
    """One host. `system` and `load` are None while ssh does not answer.

    `load` is the one-minute load average of the whole machine: its hosts share one kernel.
    """

    name: str
    address: str
    up: bool
    cut: bool
    ssh: bool
    system: str | None
    load: float | None


def lab_status(lab: Lab) -> list[HostStatus]:
    """Ask all hosts at once; a host that is cut off costs three seconds."""
    state = lab.state()
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda host: _ask(lab, state, host), state.hosts))


def _ask(lab: Lab, state: LabState, host: HostState) -> HostStatus:
    machine = lab.machine(state, host)
    up, cut = machine.running, machine.cut
    answer: list[str] = []
    if up and not cut:
        target = LabHost(host.name, host.address)
        question = "systemctl is-system-running; cat /proc/loadavg"
        try:
            done = ssh_run(
                *(lab.paths, target, question),
                check=False,
                timeout=2 * ASK_SECONDS,
                connect_timeout=ASK_SECONDS,
            )
            answer = done.stdout.splitlines()
        except StackpinError:
            answer = []
    ssh = len(answer) == 2
    return HostStatus(
        name=host.name,
        address=host.address,
        up=up,
        cut=cut,
        ssh=ssh,
        system=answer[0] if ssh else None,
        load=float(answer[1].split()[0]) if ssh else None,
    )
