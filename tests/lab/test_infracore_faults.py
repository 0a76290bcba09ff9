"""InfraCore when things go wrong: the tool killed, the network cut, two operators, a full disk."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from infracore_kit import GUARD, Infracore
from project import STACKPIN, host_name, run

from stackpin.lab import Lab
from stackpin.lab.traffic import gate_traffic

pytestmark = pytest.mark.timeout(900)
WORKED_ON = "infracore-console"
SWITCHED = ("probe", "confirm")


@pytest.fixture(scope="module")
def core(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Infracore]:
    host = lab.reset(host_name(lab))
    core = Infracore.make(lab, host, tmp_path_factory.mktemp("faults"))
    core.deploy().exits(0)
    yield core
    lab.heal(host.name)


@pytest.fixture(autouse=True)
def unhooked(core: Infracore) -> Iterator[None]:
    yield
    core.unhook()
    core.lab.heal(core.host.name)


def other(core: Infracore) -> str:
    return "v1.1.0" if core.pinned() == "v1.0.0" else "v1.0.0"


@pytest.mark.parametrize(
    "stage", ["apply", "begin", "rehearse", "start", "gate", "switch", "probe", "confirm", "retire"]
)
def test_kill_9_in_the_middle_of_a_service(core: Infracore, stage: str):
    version = other(core)
    core.pin(version)
    core.hook(stage, f'[ "$STACKPIN_STACK" = {WORKED_ON} ] && kill -9 $STACKPIN_PID; sleep 1; true')
    with gate_traffic(core.lab, core.host.name, rate=30) as load:
        assert core.deploy("--allow-downgrade").code == -9
        core.unhook()
        core.wait_for(core.settled, GUARD + 20)
        core.healthy()
        # The next run needs no help.
        core.deploy("--allow-downgrade").exits(0)
        result = load.stop()
    assert result.failed == 0, result.samples
    assert result.lost == []
    core.runs(version)


@pytest.mark.parametrize("stage", ["begin", "gate", "probe", "confirm"])
def test_the_network_cut_in_the_middle_of_a_service(core: Infracore, stage: str):
    version = other(core)
    core.pin(version)
    seconds = GUARD + 3 if stage in SWITCHED else 3
    lab, name = f"{STACKPIN} lab", core.host.name
    core.hook(
        stage,
        f'[ "$STACKPIN_STACK" = {WORKED_ON} ] || exit 0\n{lab} cut {name} >/dev/null && '
        f"setsid sh -c 'sleep {seconds}; {lab} heal {name}' >/dev/null 2>&1 </dev/null &\nsleep 1",
    )
    ran = core.deploy("--allow-downgrade")
    core.lab.heal(name)
    core.unhook()
    core.wait_for(core.settled, GUARD + 20)
    core.healthy()
    if stage in SWITCHED:
        assert ran.code in (4, 5), ran.text
    else:
        ran.exits(0)
    core.deploy("--allow-downgrade").exits(0)
    core.runs(version)


def test_two_operators_do_not_mix(core: Infracore):
    core.pin(other(core))
    core.hook("gate", "sleep 6")
    first = core.start("deploy", "infracore", "--yes", "--allow-downgrade")
    core.wait_for(lambda: core.state("infracore-files")["lock"] is not None, 30)
    second = core.stackpin("deploy", "infracore", "--yes").exits(3)
    assert "lock" in second.text.lower() or "lease" in second.text.lower()
    core.unhook()
    assert first.wait(400) == 0
    core.healthy()


def test_a_full_disk_is_refused_and_serves_on(core: Infracore):
    core.pin(other(core))
    before = core.processes()
    ran = core.deploy("--allow-downgrade", infracore_min_disk_mb=10**9).exits(3)
    assert "disk" in ran.text
    assert core.processes() == before
    core.healthy()


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
    core.deploy("--allow-downgrade").exits(0)
    subprocess.run([STACKPIN, "lab", "restart", core.host.name], check=False, capture_output=True)
    core.wait_for(lambda: core.lab.run(core.host.name, "true", check=False).returncode == 0, 60)
    core.wait_for(lambda: core.outside("/api/v1/health")[0] == 200, 60)
    core.runs(version)
