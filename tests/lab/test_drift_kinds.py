"""Every kind of drift of portal and CRM: found by all ways of asking, and none invented."""

from __future__ import annotations

import pytest
from drift_kit import Kind, all_found, kinds, refused, stays_in_sync
from engine_kit import Kit
from project import host_name

from stackpin.lab import Lab

pytestmark = pytest.mark.timeout(900)
STACK = "site"
KINDS = kinds("site")
REFUSED = KINDS.pop("refused")
# What a host does by itself, or somebody does beside us.
DISTURBANCES = [
    "systemctl restart crm@green nginx",
    "journalctl -q --rotate; cd /var/log/nginx; for f in *.log; do mv $f $f.1; done;"
    " nginx -s reopen",
    "apt-get -q update",
    "apt-mark hold curl; useradd --system neighbour; systemctl daemon-reload;"
    " install -d /opt/neighbour; touch /etc/systemd/system/neighbour.service",
]


@pytest.fixture(scope="module")
def kit(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Kit:
    """One host: v1.0.0 of the CRM is in slot blue, v1.1.0 live in green."""
    made = Kit.make(lab, lab.reset(host_name(lab)), tmp_path_factory.mktemp("kinds"))
    made.deploy(STACK).exits(0)
    made.pin("v1.1.0")
    made.deploy("crm").exits(0)
    return made


@pytest.mark.parametrize("group", KINDS)
def test_drift_is_found(kit: Kit, group: str):
    all_found(kit, STACK, "site", KINDS[group])


@pytest.mark.parametrize("kind", REFUSED, ids=lambda kind: kind.name)
def test_what_a_deploy_would_refuse_is_said(kit: Kit, kind: Kind):
    refused(kit, STACK, kind)


def test_nothing_is_invented(kit: Kit):
    stays_in_sync(kit, STACK, DISTURBANCES)
