"""Put lab hosts far away: what travels between them and this machine takes its time.

Not with netem, which many kernels lack. Delayed hosts hang on a bridge of their own; between it
and the lab's is a pair of TAP devices with a process in the middle that holds every frame back.
So handshakes, acknowledgements and losses behave as on a long line.
"""

import contextlib
import io
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from stackpin.errors import StackpinError
from stackpin.lab import delaylink
from stackpin.lab.commands import run
from stackpin.lab.hosts import Lab
from stackpin.lab.locking import lab_lock
from stackpin.lab.network import far_bridge_down, far_bridge_up, uplink_mtu
from stackpin.lab.paths import LabPaths
from stackpin.lab.processes import HostGroup, lab_group
from stackpin.lab.requirements import check_root

__all__ = ["delay"]

NET = Path("/sys/class/net")


def delay(lab: Lab, round_trip: float, names: Sequence[str] = ()) -> None:
    """Let a round trip to these hosts (none named: all) take `round_trip` milliseconds longer.

    It replaces any delay there was; 0 only ends it. A host that restarts is near again.
    """
    check_root()
    with lab_lock(lab.paths):
        state = lab.state()
        hosts = [state.host(name) for name in names] or state.hosts
        ports = [lab.machine(state, host).names.port for host in hosts]
        _end(lab.paths)
        if not round_trip:
            return
        _begin(lab.paths, round_trip / 2000)
        for port in ports:
            run("ip", "link", "set", port, "master", lab.paths.far_bridge)


def _group(paths: LabPaths) -> HostGroup:
    return HostGroup(lab_group(paths.lab_id) / "delay")


def _begin(paths: LabPaths, seconds: float) -> None:
    taps = [f"sp-{paths.lab_id}-{side}" for side in ("near", "far")]
    group = _group(paths)
    group.create()
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", delaylink.__file__, *taps, str(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,
        cwd="/",
    )
    with contextlib.closing(process.stdin or io.BytesIO()) as go:
        group.adopt(process.pid)
        go.write(b"\n")
    with contextlib.closing(process.stdout or io.BytesIO()) as told:
        if not told.read(1):
            raise StackpinError("no delay: this machine makes no TAP devices (/dev/net/tun)")
    process.returncode = 0  # it stays: nobody waits for its end
    far_bridge_up(paths)
    for tap, bridge in zip(taps, (paths.bridge, paths.far_bridge), strict=True):
        mtu = ("mtu", str(uplink_mtu()), "txqueuelen", "10000")
        run("ip", "link", "set", tap, *mtu, "master", bridge, "up")


def _end(paths: LabPaths) -> None:
    for port in (NET / paths.far_bridge / "brif").glob("vb-*"):
        run("ip", "link", "set", port.name, "master", paths.bridge)
    _group(paths).kill()
    far_bridge_down(paths)
