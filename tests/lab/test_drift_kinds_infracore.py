"""Every kind of drift of InfraCore as units: found by all ways of asking, and none invented."""

from __future__ import annotations

import pytest
from drift_kit import all_found, kinds, refused, stays_in_sync
from infracore_kit import Infracore
from project import host_name

from stackpin.lab import Lab

pytestmark = pytest.mark.timeout(900)
STACK = "infracore"
KINDS = kinds("infracore")
REFUSED = KINDS.pop("refused")
DISTURBANCES = [
    "systemctl restart infracore-console@blue infracore-gate@blue",
    "nft list ruleset >/dev/null; journalctl -q --rotate; systemctl reload nginx",
]


@pytest.fixture(scope="module")
def core(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Infracore:
    made = Infracore.make(lab, lab.reset(host_name(lab)), tmp_path_factory.mktemp("kinds"))
    made.deploy().exits(0)
    return made


@pytest.mark.parametrize("group", KINDS)
def test_drift_is_found(core: Infracore, group: str):
    all_found(core, STACK, "infracore", KINDS[group])


def test_what_a_deploy_would_refuse_is_said(core: Infracore):
    for kind in REFUSED:
        refused(core, STACK, kind)


def test_nothing_is_invented(core: Infracore):
    stays_in_sync(core, STACK, DISTURBANCES)
