"""The tool killed, the network cut and two operators at once: for each way InfraCore is run.

A test file derives a class from `Faults` and has a fixture `core`. Its tests go in file order.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from infracore_kit import GUARD, Infracore
from project import STACKPIN

from stackpin.lab.traffic import gate_traffic

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


class Faults:
    """Every stage in turn, under load, on the host of the fixture `core`."""

    @pytest.fixture(autouse=True)
    def unhooked(self, core: Infracore) -> Iterator[None]:
        yield
        core.unhook()
        core.lab.heal(core.host.name)

    @pytest.mark.parametrize("stage", (*ROLLING, *CLOSING))
    def test_kill_9_in_the_middle_of_a_service(self, core: Infracore, stage: str):
        """Each time further on: every run goes on from what the one before left."""
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
            # Elsewhere the next case shows it: it gets past these remains to its own hook.
            if stage in {"confirm", "retire", *CLOSING}:
                core.deploy().exits(0)
                core.runs(version)
            result = load.stop()
        assert result.failed == 0, result.samples
        assert result.lost == []

    def test_kill_9_before_anything_is_touched(self, core: Infracore):
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
    def test_the_network_cut_before_a_switch_is_confirmed(self, core: Infracore, stage: str):
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

    def test_the_network_cut_again_and_again_at_every_other_stage(self, core: Infracore):
        """A blip each, which TCP survives: the run notices nothing."""
        version = target(core)
        known = OPENING.index("connect") + 1
        for stage in (*OPENING[known:], *ROLLING, *CLOSING):
            if stage not in SWITCHED:
                on_stage(core, stage, cut_for(core, 3))
        core.deploy().exits(0)
        core.unhook()
        core.runs(version)

    def test_two_operators_do_not_mix(self, core: Infracore):
        core.pin(other(core))
        core.hook("gate", "sleep 6")
        first = core.start("deploy", "infracore", "--yes")
        core.wait_for(lambda: core.state("infracore-files")["lock"] is not None, 30)
        second = core.stackpin("deploy", "infracore", "--yes").exits(3)
        assert "lock" in second.text.lower() or "lease" in second.text.lower()
        core.unhook()
        assert first.wait(400) == 0
        core.healthy()
