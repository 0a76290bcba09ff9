"""A real lab for every test in this directory.

It is a lab of their own, beside one you may be running. STACKPIN_LAB_REUSE=1 uses that one instead;
STACKPIN_KEEP_LAB=1 leaves the hosts running for a look afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fleet_kit import Fleet
from xdist.scheduler import LoadFileScheduling

from stackpin.errors import StackpinError
from stackpin.lab import Lab, LabHost

HERE = Path(__file__).parent
# Not in `make test`: `make test-long` runs them.
LONG = (
    "test_fleet",
    "test_fleet_faults",
    "test_workers",
    "test_fleet_modes",
    "test_infracore_faults",
    "test_infracore_compose",
    "test_infracore_compose_faults",
    "test_drift_kinds_compose",
    "test_drift_kinds_infracore",
    "test_infracore_artifacts",
)
# These share the hosts of one fleet.
GROUPS = dict.fromkeys(("test_fleet_server", "test_stock_fleet"), "three nodes")
# What takes longest begins first.
FIRST = (*LONG, *GROUPS, "test_infracore", "test_infracore_care")
SUBNETS = 93  # second octet of the test labs' addresses, one /24 each


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.lab)
            if item.path.stem in LONG:
                item.add_marker(pytest.mark.long)
    rank = {stem: at for at, stem in enumerate(FIRST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(FIRST)))


class ByHosts(LoadFileScheduling):
    """Gives an xdist worker whole files, and all files of one fleet to the same worker."""

    def _split_scope(self, nodeid: str) -> str:
        file = Path(nodeid.partition("::")[0]).stem
        return GROUPS.get(file, file)


@pytest.hookimpl(optionalhook=True)  # also without xdist's plugin
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByHosts:
    return ByHosts(config, log)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The lab these tests share, with at least one host; each xdist worker has its own."""
    reuse = os.environ.get("STACKPIN_LAB_REUSE") == "1"
    if not reuse:
        worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
        os.environ["STACKPIN_LAB_DIR"] = f"/var/lib/stackpin-test-{worker}"
    one = Lab.load()
    try:
        with pytest.MonkeyPatch.context() as patch:
            if not reuse:
                one.down()  # what a killed run of these tests left
                # Named, since two workers would find the same one free.
                patch.setenv("STACKPIN_LAB_SUBNET", f"10.{SUBNETS}.{worker}.0/24")
            one.up(1)
    except StackpinError as error:
        # Not a skip: a run that proved nothing must not look like one that did.
        pytest.fail(f"no lab: {error}")
    yield one
    if not reuse and os.environ.get("STACKPIN_KEEP_LAB") != "1":
        one.down()


@pytest.fixture(scope="module")
def fleet(
    lab: Lab, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Fleet:
    """A server and the module's NODES, with a registry; deployed or not as the test before left."""
    folder = tmp_path_factory.mktemp("fleet")
    return Fleet.bring_up(lab, folder, request.module.NODES)


@pytest.fixture
def host(lab: Lab) -> LabHost:
    """The first host of the lab, with a fresh disk."""
    return lab.reset(lab.hosts[0].name)
