"""How often a run asks its host, by the log of the host's sshd. Counts are exact; no time is."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import ClassVar

import pytest
from operator_seat import Seat
from project import host_name

from stackpin.lab import Lab
from tests.bench.peers.end_state import check
from tests.bench.peers.measuring import LOUD_SSHD, Asked, asked, run
from tests.bench.peers.state import lay_out
from tests.bench.peers.tools import Place, Stackpin

pytestmark = pytest.mark.timeout(900)

# SSH execs per host. "First" is a run without a list of the facts that deploys read before.
SITE = 30  # its first deploy on a bare host: 12 of them apply the two stacks
PLAN_FIRST, PLAN = 2, 1
DRIFT_FIRST, DRIFT = 2, 1
RESOURCES_FIRST, RESOURCES = 2, 1  # looking at the 64 resources of the benchmark
ONE_FILE = 3  # one of them changed


class Unhurried(Seat):
    """So long a lease that no heartbeat falls into a run, however slow: execs can be counted."""

    DATA: ClassVar[dict[str, object]] = {**Seat.DATA, "stackpin_lock_ttl": 600}


@pytest.fixture(scope="module")
def deployed(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Seat, Asked]]:
    made = Unhurried.make(lab, lab.reset(host_name(lab)), tmp_path_factory.mktemp("seat"))
    made.on_host(LOUD_SSHD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(made.folder / "cache"))  # where fact lists are
        with asked(Place(lab, [made.host], made.folder)) as seen:
            made.stackpin("deploy", "site", "--yes").exits(0)
        yield made, seen[0]


@pytest.fixture(scope="module")
def seat(deployed: tuple[Seat, Asked]) -> Seat:
    return deployed[0]


def test_the_first_deploy(deployed: tuple[Seat, Asked]) -> None:
    # Each stack is confirmed over a connection of its own.
    assert (deployed[1].execs, deployed[1].connections) == (SITE, 3)


def execs(place: Place, work: Callable[[], object]) -> int:
    with asked(place) as seen:
        work()
    assert seen[0].connections == 1
    return seen[0].execs


@pytest.mark.parametrize(
    ("command", "first", "later"),
    [("plan", PLAN_FIRST, PLAN), ("drift", DRIFT_FIRST, DRIFT)],
)
def test_a_host_in_sync(seat: Seat, command: str, first: int, later: int) -> None:
    place = Place(seat.lab, [seat.host], seat.folder)

    def look() -> None:
        seat.stackpin(command, "site").exits(0)

    shutil.rmtree(seat.folder / "cache")
    assert [execs(place, look) for _ in range(3)] == [first, later, later]


@pytest.fixture(scope="module")
def place(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Place:
    host = lab.reset(host_name(lab))
    lab.run(host, LOUD_SSHD)
    return Place(lab, [host], tmp_path_factory.mktemp("sources"))


def test_64_resources(place: Place) -> None:
    tool = Stackpin("stackpin", "Stackpin", "deploy_stackpin.py")
    binary = lay_out(place.folder)
    run(tool, place, "apply", 1)
    check(place.lab, place.hosts[0], 1, binary)

    def expect(task: str, edition: int, changed: int) -> Callable[[], object]:
        def work() -> None:
            assert run(tool, place, task, edition).changed == changed  # type: ignore[arg-type]

        return work

    run(tool, place, "look", 1)  # lays the host program down, once per boot
    shutil.rmtree(place.folder / "cache-stackpin")
    steps = (("look", 1, 0), ("look", 1, 0), ("apply", 2, 1), ("look", 2, 0))
    found = [execs(place, expect(*step)) for step in steps]
    check(place.lab, place.hosts[0], 2, binary)
    assert found == [RESOURCES_FIRST, RESOURCES, ONE_FILE, RESOURCES]
