"""A real lab for every test in this directory.

STACKPIN_LAB_REUSE=1 uses the lab that is already running; STACKPIN_KEEP_LAB=1 leaves the hosts
running for a look afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from stackpin.errors import StackpinError
from stackpin.lab import Lab, LabHost

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.lab)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The lab these tests share, with at least one host."""
    one = Lab.load()
    found = bool(one.hosts) if os.access(one.paths.home, os.X_OK) else False
    if found and os.environ.get("STACKPIN_LAB_REUSE") != "1":
        pytest.fail(
            "a lab is running and these tests would change it: set STACKPIN_LAB_REUSE=1 to let "
            "them, STACKPIN_LAB_DIR for one of their own, or end it with `stackpin lab down`"
        )
    try:
        one.up(1)
    except StackpinError as error:
        # Not a skip: a run that proved nothing must not look like one that did.
        pytest.fail(f"no lab: {error}")
    yield one
    if not found and os.environ.get("STACKPIN_KEEP_LAB") != "1":
        one.down()


@pytest.fixture
def host(lab: Lab) -> LabHost:
    """The first host of the lab, with a fresh disk."""
    return lab.reset(lab.hosts[0].name)
