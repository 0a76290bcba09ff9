"""InfraCore as systemd units when things go wrong: `infracore_faults`, bad input, a full disk."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from infracore_faults import Faults, on_stage
from infracore_kit import Infracore
from project import STACKPIN, host_name, run

from stackpin.lab import Lab

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def core(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Infracore]:
    host = lab.reset(host_name(lab))
    core = Infracore.make(lab, host, tmp_path_factory.mktemp("faults"))
    core.deploy().exits(0)
    yield core
    lab.heal(host.name)


class TestFaults(Faults):
    """Of systemd units."""


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"infracore_version": "latest"}, "infracore_version"),
        ({"infracore_mode": "docker"}, "infracore_mode"),
        ({"infracore_ports": {"console": 80}}, "infracore_ports"),
        ({"infracore_config": {"console": {"port": "x"}}}, "infracore_config"),
        ({"infracore_verson": "v1.0.0"}, "infracore_version"),
        ({"infracore_artifact": {"kind": "file", "path": "nowhere"}}, "nowhere"),
    ],
)
def test_bad_input_is_refused_before_anything_is_touched(
    core: Infracore, data: dict[str, object], said: str
):
    argv = [STACKPIN, "deploy", "inventories/infra", "infracore", "--yes"]
    words = core.argv("deploy", "infracore", "--yes", **data)
    assert argv[1] in words
    before = core.processes()
    ran = run(words, core.folder, {}, 120).exits(3)
    assert said in ran.text
    assert "Traceback" not in ran.text
    assert core.processes() == before


def test_the_host_comes_back_after_a_reboot(core: Infracore):
    version = core.pinned()
    core.deploy().exits(0)
    core.lab.reboot(core.host.name)
    core.wait_for(lambda: core.outside("/api/v1/health")[0] == 200, 60)
    core.runs(version)


FILL = "/root/fill"
PLACE = "/opt/infra-core"


@pytest.fixture(scope="module")
def small_disk(core: Infracore) -> None:
    """What is installed moves to a small disk, of memory: for the last tests of a host only."""
    core.on_host(
        f"mkdir -p /mnt/small && used=$(du -sm {PLACE} | cut -f1) && "
        "mount -t tmpfs -o mode=0755,size=$((used + 700))m small /mnt/small && "
        f"cp -a {PLACE}/. /mnt/small/ && mount --bind /mnt/small {PLACE} && cat >{FILL}",
        f"cat /dev/zero >{PLACE}/full; test $(df --output=avail {PLACE} | tail -1) = 0".encode(),
    )


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_is_refused_and_serves_on(core: Infracore):
    core.pin("v1.5.0")  # which is not there yet
    before = core.processes()
    core.on_host(f"sh {FILL}")
    try:
        ran = core.deploy().exits(3)
    finally:
        core.on_host(f"rm {PLACE}/full")
    assert f"disk {PLACE}: found 0 MiB free" in ran.text
    assert core.processes() == before
    core.healthy()


@pytest.mark.usefixtures("small_disk")
def test_a_disk_that_runs_full_on_the_way_takes_everything_back(core: Infracore):
    before, version = core.versions(), "v1.5.0"
    core.pin(version)
    on_stage(core, "apply", f"{STACKPIN} lab ssh {core.host.name} -- sh {FILL}")
    ran = core.deploy().exits(4)
    assert "space" in ran.text.lower()
    assert core.versions() == before
    core.healthy()
    core.unhook()
    core.on_host(f"rm {PLACE}/full")
    core.deploy().exits(0)
    core.runs(version)
