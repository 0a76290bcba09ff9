"""InfraCore when things go wrong: the tool killed, the network cut, two operators, a full disk."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from infracore_kit import GUARD, Infracore
from project import STACKPIN, host_name, run

from stackpin.lab import Lab
from stackpin.lab.traffic import gate_traffic

pytestmark = pytest.mark.timeout(900)
WORKED_ON = "infracore-console"

# Asked in a process of its own: importing the rollout brings gevent, which stops xdist's workers.
SHOW_STAGES = "from stackpin.rollout.performing import STAGES; print(*STAGES)"
STAGES = tuple(
    subprocess.run(
        [sys.executable, "-c", SHOW_STAGES], capture_output=True, text=True, check=True
    ).stdout.split()
)
# A hook stands before its stage. These belong to no part: before anything is touched...
OPENING = STAGES[: STAGES.index("backup")]
# ...and after the last part.
CLOSING = ("evidence", "unlock")
# Those of each part, and those between its switch and its confirmation.
ROLLING = STAGES[len(OPENING) : -len(CLOSING)]
SWITCHED = ("probe", "public", "confirm")


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


def on_stage(core: Infracore, stage: str, command: str) -> None:
    """Run `command` before `stage`, of one part where the stage is a part's."""
    only = f'[ "$STACKPIN_STACK" = {WORKED_ON} ] || exit 0\n' if stage in ROLLING else ""
    core.hook(stage, f"{only}{command}")


def cut_for(core: Infracore, seconds: int) -> str:
    """A command that cuts the host off, and brings it back by itself."""
    lab, name = f"{STACKPIN} lab", core.host.name
    return (
        f"{lab} cut {name} >/dev/null && "
        f"setsid sh -c 'sleep {seconds}; {lab} heal {name}' >/dev/null 2>&1 </dev/null &\nsleep 1"
    )


KILL = "kill -9 $STACKPIN_PID; sleep 1"


def target(core: Infracore) -> str:
    """The version a killed run was going to; when that is reached, the other one."""
    if core.versions()["console"] == core.pinned():
        core.pin(other(core))
    return core.pinned()


@pytest.mark.parametrize("stage", (*ROLLING, *CLOSING))
def test_kill_9_in_the_middle_of_a_service(core: Infracore, stage: str):
    """Again and again, each time further on: every run goes on from what the one before left."""
    version = core.pinned() if stage == "unlock" else target(core)  # there is always one
    before = core.versions()["console"]
    on_stage(core, stage, KILL)
    with gate_traffic(core.lab, core.host.name, rate=30) as load:
        assert core.deploy().code == -9
        core.unhook()
        core.wait_for(core.settled, GUARD + 20)
        core.healthy()
        switched = stage in {"retire", *CLOSING}
        assert core.versions()["console"] == (version if switched else before)
        # Elsewhere the next case shows it: its run gets past this one's remains, to its own hook.
        if stage in {"confirm", "retire", *CLOSING}:
            core.deploy().exits(0)
            core.runs(version)
        result = load.stop()
    assert result.failed == 0, result.samples
    assert result.lost == []


def test_kill_9_before_anything_is_touched(core: Infracore):
    version = target(core)
    before = core.processes()
    for stage in OPENING:
        on_stage(core, stage, KILL)
        assert core.deploy().code == -9, stage
        core.unhook()
    assert core.processes() == before
    core.deploy().exits(0)
    core.runs(version)


@pytest.mark.parametrize("stage", SWITCHED)
def test_the_network_cut_before_a_switch_is_confirmed(core: Infracore, stage: str):
    version = target(core)
    before = core.versions()["console"]
    on_stage(core, stage, cut_for(core, GUARD + 3))
    ran = core.deploy()
    core.lab.heal(core.host.name)
    core.unhook()
    core.wait_for(core.settled, GUARD + 20)
    core.healthy()
    assert ran.code in (4, 5), ran.text
    assert core.versions()["console"] == before
    if stage == SWITCHED[-1]:
        core.deploy().exits(0)
        core.runs(version)


def test_the_network_cut_again_and_again_at_every_other_stage(core: Infracore):
    """A blip each, which TCP survives: the run notices nothing."""
    version = target(core)
    known = OPENING.index("connect") + 1
    for stage in (*OPENING[known:], *ROLLING, *CLOSING):
        if stage not in SWITCHED:
            on_stage(core, stage, cut_for(core, 3))
    core.deploy().exits(0)
    core.unhook()
    core.runs(version)


def test_two_operators_do_not_mix(core: Infracore):
    core.pin(other(core))
    core.hook("gate", "sleep 6")
    first = core.start("deploy", "infracore", "--yes")
    core.wait_for(lambda: core.state("infracore-files")["lock"] is not None, 30)
    second = core.stackpin("deploy", "infracore", "--yes").exits(3)
    assert "lock" in second.text.lower() or "lease" in second.text.lower()
    core.unhook()
    assert first.wait(400) == 0
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
