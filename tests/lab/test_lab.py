"""The lab itself, on a lab of its own: directory, bridge and subnet are not the shared one's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stackpin.errors import StackpinError
from stackpin.lab import Lab, LabHost
from stackpin.lab.paths import LabPaths
from stackpin.lab.status import lab_status

FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two hosts in a lab of this module's own."""
    one = Lab(LabPaths(tmp_path_factory.mktemp("lab"), LabPaths.from_env().cache))
    try:
        one.up(2, name="own")
    except StackpinError as error:
        pytest.fail(f"no lab: {error}")
    yield one
    one.down()


@pytest.fixture(params=["own1"])
def one(own: Lab, request: pytest.FixtureRequest) -> LabHost:
    return own.host(request.param)


def system(lab: Lab, host: LabHost) -> str:
    return lab.run(host, "systemctl is-system-running", check=False).stdout.strip()


def output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def reachable(lab: Lab, host: LabHost) -> bool:
    return next(row.ssh for row in lab_status(lab) if row.name == host.name)


def traces(lab: Lab) -> list[str]:
    """Everything of this lab that the machine still shows."""
    home, lab_id = str(lab.paths.home), lab.paths.lab_id
    shown = {
        "processes": output("ps", "-ww", "-eo", "args"),
        "mounts": Path("/proc/mounts").read_text(),
        "links": output("ip", "-o", "link"),
        "rules": output("iptables-save"),
        "groups": output("find", "/sys/fs/cgroup", "-type", "d", "-path", "*stackpin-lab*"),
    }
    marks = (f"{home}/", lab.paths.bridge, f"vb-{lab_id}", lab.paths.rule_comment)
    marks = (*marks, f"stackpin-lab/{lab_id}")
    return [
        f"{kind}: {line}"
        for kind, text in shown.items()
        for line in text.splitlines()
        if any(mark in line for mark in marks)
    ]


def test_hosts_are_running_and_distinct(own: Lab) -> None:
    assert [host.name for host in own.hosts] == ["own1", "own2"]
    told = [
        own.run(host, "systemctl is-system-running; hostname; cat /etc/machine-id")
        for host in own.hosts
    ]
    systems, names, ids = zip(*(done.stdout.split() for done in told), strict=True)
    assert set(systems) == {"running"}
    assert names == ("own1", "own2")
    assert len(set(ids)) == 2


def test_one_hosts_services_are_its_own(own: Lab) -> None:
    """Two nspawns in one cgroup would end each other's services here."""
    first, second = own.hosts
    own.run(first, "systemctl stop nginx")
    assert own.run(second, "systemctl is-active nginx").stdout.strip() == "active"
    assert (
        own.run(second, "curl -sSf -o /dev/null -w '%{http_code}' http://127.0.0.1/").stdout
        == "200"
    )
    own.run(first, "systemctl start nginx")


def test_deploy_has_sudo_without_a_password(own: Lab, one: LabHost) -> None:
    assert own.run(one, ["sudo", "-n", "id", "-un"], user="deploy").stdout.strip() == "root"


def test_ssh_refuses_another_host_key(own: Lab, one: LabHost, tmp_path: Path) -> None:
    kept = own.known_hosts.read_text()
    first, second = (line.split() for line in kept.splitlines())
    own.known_hosts.write_text(" ".join([first[0], *second[1:]]) + "\n")
    try:
        done = own.run(one, "true", check=False)
    finally:
        own.known_hosts.write_text(kept)
    assert done.returncode == 255
    assert "HOST IDENTIFICATION HAS CHANGED" in done.stderr or "verification failed" in done.stderr


def test_packages_install_from_inside(own: Lab, one: LabHost) -> None:
    own.run(one, "apt-get update -qq && apt-get install -y -qq jq", timeout=180)
    assert own.run(one, "jq --version").stdout.startswith("jq-")


def test_cut_and_heal(own: Lab, one: LabHost) -> None:
    marker = own.run(one, "cat /proc/sys/kernel/random/boot_id").stdout
    own.cut(one.name)
    assert not reachable(own, one)
    own.heal(one.name)
    assert own.run(one, "cat /proc/sys/kernel/random/boot_id").stdout == marker


def test_reboot_keeps_the_disk(own: Lab, one: LabHost) -> None:
    before = own.run(one, "echo kept >/root/kept; cat /proc/sys/kernel/random/boot_id").stdout
    own.reboot(one.name)
    after = own.run(one, "cat /root/kept /proc/sys/kernel/random/boot_id").stdout.split()
    assert after[0] == "kept"
    assert system(own, one) == "running"
    assert after[1] != before.strip()


def test_a_reboot_from_inside_comes_back(own: Lab, one: LabHost) -> None:
    before = own.run(one, "cat /proc/sys/kernel/random/boot_id").stdout
    own.run(one, "systemctl reboot", check=False)
    end = time.monotonic() + 30
    after = before
    while after in {before, ""} and time.monotonic() < end:
        time.sleep(0.2)
        after = own.run(one, "cat /proc/sys/kernel/random/boot_id", check=False).stdout
    assert after not in {before, ""}


def test_a_power_cut_keeps_the_disk(own: Lab, one: LabHost) -> None:
    own.run(one, "echo kept >/root/kept; sync")
    own.kill(one.name)
    row = next(row for row in lab_status(own) if row.name == one.name)
    assert (row.up, row.ssh) == (False, False)
    own.start(one.name)
    assert own.run(one, "cat /root/kept").stdout == "kept\n"
    # Linux kills what is started in a cgroup that was killed before: boot would half fail.
    assert system(own, one) == "running"


def test_reset_gives_a_clean_disk_and_the_same_key(own: Lab, one: LabHost) -> None:
    own.run(one, "touch /root/gone")
    keys = own.known_hosts.read_text()
    began = time.monotonic()
    own.reset(one.name)
    took = time.monotonic() - began
    assert own.run(one, "test -e /root/gone", check=False).returncode == 1
    assert own.known_hosts.read_text() == keys
    assert system(own, one) == "running"
    assert took < 10


def test_up_adds_what_is_missing(own: Lab) -> None:
    # What the kernel has not cleared away yet after a host of that name was killed.
    number = int(own.hosts[-1].address.rpartition(".")[2]) + 1
    port = own.paths.machine("own3", number).port
    pair = ["type", "veth", "peer", "name", f"{port}p"]
    subprocess.run(["ip", "link", "add", port, *pair], check=True)
    assert [host.name for host in own.up(3, name="own")] == ["own1", "own2", "own3"]
    own.down(["own3"])
    assert [host.name for host in own.hosts] == ["own1", "own2"]
    assert not [line for line in traces(own) if "own3" in line]


def test_the_state_is_private(own: Lab) -> None:
    assert own.paths.home.stat().st_mode & 0o777 == 0o700
    assert own.paths.state_file.stat().st_mode & 0o777 == 0o600


def test_a_wrong_name_is_answered_with_the_right_ones(own: Lab) -> None:
    with pytest.raises(StackpinError, match="there are: own1, own2"):
        own.cut("nobody")


@pytest.fixture
def third(tmp_path: Path, own: Lab) -> Iterator[Lab]:
    one = Lab(LabPaths(tmp_path / "third", own.paths.cache))
    yield one
    one.down()


def test_down_leaves_nothing(third: Lab, own: Lab) -> None:
    """A third lab, so that the others can be seen to survive."""
    forwarding = FORWARDING.read_text()
    third.up(1)
    assert {line.split(":")[0] for line in traces(third)} == {
        "processes",
        "mounts",
        "links",
        "rules",
        "groups",
    }
    third.down()
    assert traces(third) == []
    assert not third.paths.home.exists()
    assert FORWARDING.read_text() == forwarding
    assert own.run("own1", "true").returncode == 0
    third.down()


def test_down_after_a_crash_halfway_up(tmp_path: Path) -> None:
    """`up` is killed at several moments; `down` must find what it left each time."""
    env = {**os.environ, "STACKPIN_LAB_DIR": str(tmp_path / "crash")}
    crashed = Lab(LabPaths((tmp_path / "crash").resolve(), LabPaths.from_env().cache))
    left = []
    for delay in (0.0, 0.05, 0.1, 0.15, 0.2, 0.4, 0.8):
        program = [sys.executable, "-m", "stackpin.cli.lab", "up", "2"]
        with subprocess.Popen(program, env=env, stdout=subprocess.DEVNULL) as process:
            # Counted from its first trace: a busy machine takes its time to load the program.
            end = time.monotonic() + 30
            while not crashed.paths.home.exists() and time.monotonic() < end:
                time.sleep(0.005)
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
        left.append(len(traces(crashed)))
        crashed.down()
        assert traces(crashed) == [], f"killed after {delay} s"
        assert not crashed.paths.home.exists()
    assert max(left) > 0, "no run was killed late enough to leave anything"


def test_the_command_reports_as_json(own: Lab) -> None:
    env = {**os.environ, "STACKPIN_LAB_DIR": str(own.paths.home)}
    program = [sys.executable, "-m", "stackpin.cli.lab", "list", "--json"]
    done = subprocess.run(program, env=env, capture_output=True, text=True, check=True)
    assert [row["name"] for row in json.loads(done.stdout)["hosts"]] == ["own1", "own2"]
