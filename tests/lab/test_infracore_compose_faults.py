"""InfraCore as one Compose project when things go wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from infracore_faults import Faults
from infracore_kit import Composed

from stackpin.lab import Lab

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def core(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    core = Composed.on_box(lab, tmp_path_factory.mktemp("faults"))
    for version in ("v1.1.0", "v1.0.0"):
        core.lock_digests(version)
    core.deploy().exits(0)
    yield core
    lab.heal(core.host.name)


class TestFaults(Faults):
    """Of containers."""
