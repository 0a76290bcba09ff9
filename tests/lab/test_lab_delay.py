"""Hosts put far away, on a lab of this module's own."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stackpin.errors import StackpinError
from stackpin.lab import Lab
from stackpin.lab.delay import delay
from stackpin.lab.paths import LabPaths


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    one = Lab(LabPaths(tmp_path_factory.mktemp("lab"), LabPaths.from_env().cache))
    one.up(2, name="far")
    yield one
    one.down()


def connecting(lab: Lab, name: str) -> float:
    """Seconds a TCP handshake takes: one round trip; the best of five, others use this machine."""
    best = 60.0
    for _ in range(5):
        begun = time.monotonic()
        socket.create_connection((lab.host(name).address, 22), timeout=10).close()
        best = min(best, time.monotonic() - begun)
    return best


def links(lab: Lab) -> str:
    shown = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True)
    return "\n".join(line for line in shown.stdout.splitlines() if lab.paths.lab_id in line)


def test_a_round_trip_takes_as_long_as_told(own: Lab) -> None:
    assert connecting(own, "far1") < 0.04
    delay(own, 80)
    for name in ("far1", "far2"):
        assert 0.080 <= connecting(own, name) < 0.12
    delay(own, 200, ["far2"])
    assert connecting(own, "far1") < 0.08
    assert 0.2 <= connecting(own, "far2") < 0.28
    delay(own, 0)
    assert connecting(own, "far2") < 0.08
    assert own.paths.far_bridge not in links(own)


def test_much_data_arrives_whole(own: Lab) -> None:
    delay(own, 20)
    sent = os.urandom(8 << 20).hex()
    command = "sha256sum && head -c 8000000 /dev/zero | tr '\\0' x"
    target = ["ssh", "-F", "/dev/null", "-i", str(own.ssh_key), "-l", "root"]
    target += ["-o", f"UserKnownHostsFile={own.known_hosts}", own.host("far1").address, command]
    done = subprocess.run(target, input=sent, capture_output=True, text=True, check=True)
    local = subprocess.run(["sha256sum"], input=sent, capture_output=True, text=True, check=True)
    assert done.stdout == local.stdout + "x" * 8_000_000


def test_it_still_reaches_the_machines_network(own: Lab) -> None:
    delay(own, 20)
    own.run("far1", "apt-get -qq update --error-on=any", timeout=120)


def test_a_host_that_is_not_there_changes_nothing(own: Lab) -> None:
    delay(own, 80)
    with pytest.raises(StackpinError, match="no host 'nobody'"):
        delay(own, 0, ["nobody"])
    assert connecting(own, "far1") >= 0.08


def test_down_leaves_nothing_of_it(own: Lab) -> None:
    delay(own, 80)
    own.down()
    # A port goes when the kernel has given up the host's last connections.
    assert [line for line in links(own).splitlines() if ": vb-" not in line] == []
    rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
    assert own.paths.rule_comment not in rules
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [words for words in running if f"sp-{own.paths.lab_id}-".encode() in words]
