"""Every kind of drift of containers: found by all ways of asking, and none invented."""

from __future__ import annotations

from typing import ClassVar

import pytest
from drift_kit import all_found, injected, kinds, stays_in_sync, told
from infracore_kit import Composed

from stackpin.lab import Lab

pytestmark = pytest.mark.timeout(900)
STACK = "infracore"
KINDS = kinds("compose")
FOREIGN = KINDS.pop("foreign")
DISTURBANCES = [
    "docker restart -t 2 infracore-snap-blue-1; docker run -d --name neighbour --network none"
    " --entrypoint /usr/bin/python3 $(docker inspect -f '{{.Image}}' infracore-probe-blue-1)"
    " -c 'import time; time.sleep(1e6)'",
    "systemctl reload docker; docker image prune -f; journalctl -q --rotate",
]


class Mirrored(Composed):
    DATA: ClassVar[dict[str, object]] = {
        **Composed.DATA,
        "infracore_registry_mirrors": ["https://mirror.example.net"],
    }


@pytest.fixture(scope="module")
def core(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Mirrored:
    made = Mirrored.on_box(lab, tmp_path_factory.mktemp("kinds"))
    made.lock_digests("v1.0.0")
    made.deploy().exits(0)
    return made


@pytest.mark.parametrize("group", KINDS)
def test_drift_is_found(core: Mirrored, group: str):
    all_found(core, STACK, "infracore", KINDS[group])


def test_what_a_plan_refuses_is_found(core: Mirrored):
    with injected(core, FOREIGN):
        told(core, core.stackpin("drift", STACK, "--json"), FOREIGN)
        assert "stranger" in core.stackpin("plan", STACK).exits(3).text


def test_nothing_is_invented(core: Mirrored):
    stays_in_sync(core, STACK, DISTURBANCES)
