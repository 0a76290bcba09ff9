"""kill -9 of the tool, and a cut network, at every stage: the service answers, the host heals."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_kit import GUARD, Kit
from project import STACKPIN, host_name

from stackpin.lab import Lab

pytestmark = pytest.mark.timeout(600)

# Asked in a process of its own: importing the rollout brings gevent, which stops xdist's workers.
SHOW_STAGES = "from stackpin.rollout.performing import STAGES; print(*STAGES)"
STAGES = tuple(
    subprocess.run(
        [sys.executable, "-c", SHOW_STAGES], capture_output=True, text=True, check=True
    ).stdout.split()
)

# The hook stands before its stage: from these on, the switch has happened and is not confirmed...
SWITCHED = ("probe", "public", "confirm")
# ...and from these on the new release is confirmed.
CONFIRMED = ("retire", "evidence", "unlock")
UNTOUCHED = STAGES[: STAGES.index("begin") + 1]


@pytest.fixture(scope="module")
def kit(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    host = lab.host(host_name(lab))
    kit = Kit.make(lab, host, tmp_path_factory.mktemp("failures"))
    kit.pin("v1.0.0")
    kit.deploy("site").exits(0)
    yield kit
    lab.heal(host.name)


def other_version(kit: Kit) -> str:
    return "v1.1.0" if kit.live().startswith("v1.0.0") else "v1.0.0"


def converge(kit: Kit, version: str) -> None:
    """The next run needs no help: it recovers, waits for the dead lease, and gets there."""
    kit.unhook()
    kit.deploy().exits(0)
    state = kit.state()
    assert state["live_release"].startswith(version)
    assert state["pending"] is None
    assert state["lock"] is None
    assert state["run"]["stage"] in ("retired", "failed", "reverted")
    slots = [slot for slot, one in state["slots"].items() if one["active"] == "active"]
    assert slots == [state["live_slot"]]


def outcomes(kit: Kit, run: str) -> set[str]:
    return {line["event"] for line in kit.state()["journal"] if line.get("run") == run}


@pytest.mark.parametrize("stage", STAGES)
def test_kill_9(kit: Kit, stage: str) -> None:
    before, version = kit.live(), other_version(kit)
    kit.pin(version)
    kit.hook(stage, "kill -9 $STACKPIN_PID; sleep 1")
    with kit.never_down():
        assert kit.deploy().code == -9
        run = kit.state()["run"]["run"]
        if stage in CONFIRMED:
            assert kit.live().startswith(version)
            assert "confirmed" in outcomes(kit, run)
        elif stage in SWITCHED:
            # Nobody is left to help: the guard alone, within its deadline.
            kit.wait_for(lambda: kit.live() == before and not kit.state()["pending"], GUARD + 5)
            kit.wait_for(lambda: "reverted" in outcomes(kit, run), 20)
            assert "confirmed" not in outcomes(kit, run)
        else:
            assert kit.live() == before
            assert not outcomes(kit, run) & {"switched"} or stage in UNTOUCHED
        # Elsewhere the next case shows it: its run gets past this one's remains, to its own hook.
        if stage in ("gate", "confirm", "retire", "evidence", "unlock"):
            converge(kit, version)


CUT = [stage for stage in STAGES if stage not in ("load", "check", "connect")]


@pytest.mark.parametrize("stage", CUT)
def test_cut_network(kit: Kit, stage: str) -> None:
    before = kit.live()
    # Before a backup is taken, a run with nothing to do tells as much, sooner.
    early = STAGES.index(stage) < STAGES.index("backup")
    version = kit.pinned() if early else other_version(kit)
    kit.pin(version)
    # Long enough for the guard where one is armed; elsewhere a blip TCP survives.
    seconds = GUARD + 3 if stage in SWITCHED else 3
    lab = f"{STACKPIN} lab"
    name = kit.host.name
    kit.hook(
        stage,
        f"{lab} cut {name} >/dev/null && "
        f"setsid sh -c 'sleep {seconds}; {lab} heal {name}' >/dev/null 2>&1 </dev/null &\nsleep 1",
    )
    with kit.never_down():
        ran = kit.deploy()
        kit.lab.heal(name)
        if stage in SWITCHED:
            ran.exits(4)
            assert kit.live() == before
            events = outcomes(kit, kit.state()["run"]["run"])
            assert "reverted" in events
            assert "confirmed" not in events
        else:
            ran.exits(0)
            assert kit.live().startswith(version)


def test_after_all_that(kit: Kit) -> None:
    converge(kit, kit.pinned())
    assert "in sync" in kit.deploy("site").exits(0).out


def test_unreachable_from_the_start(kit: Kit, tmp_path: Path) -> None:
    kit.unhook()
    kit.lab.cut(kit.host.name)
    try:
        ran = kit.deploy().exits(3)
        assert kit.host.name in ran.err
        assert "no SSH connection" in ran.err
    finally:
        kit.lab.heal(kit.host.name)
