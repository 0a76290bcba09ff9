"""Two hosts: the canary goes first, a failure behind it stops there and is taken back."""

from __future__ import annotations

import pytest
from engine_kit import Kit
from project import host_name

from stackpin.lab import Lab

pytestmark = pytest.mark.timeout(900)


def test_canary_then_the_rest(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> None:
    hosts = lab.up(2)
    first = lab.host(host_name(lab))
    second = next(host for host in hosts if host != first)
    kit = Kit.make(lab, first, tmp_path_factory.mktemp("batches"))
    other = Kit(lab, second, kit.folder)
    both = ("--limit", second.name)
    kit.pin("v1.0.0")
    kit.deploy("site", *both, "--batch", "100%").exits(0)
    assert kit.live() == other.live()
    assert kit.live().startswith("v1.0.0-")

    # Approved once for both; the hook sees the hosts of each batch.
    kit.hook("public", f'case "$STACKPIN_HOSTS" in *{second.name}*) exit 1;; esac')
    kit.pin("v1.1.0")
    with kit.never_down(), other.never_down():
        ran = kit.deploy("crm", *both, "--json").exits(4)
    found = {host: one["crm"]["outcome"] for host, one in ran.json["hosts"].items()}
    assert found == {first.name: "serving", second.name: "rolled-back"}
    assert kit.live().startswith("v1.1.0-")
    assert other.live().startswith("v1.0.0-")

    kit.unhook()
    ran = kit.deploy("crm", *both, "--json").exits(0)
    found = {host: one["crm"]["outcome"] for host, one in ran.json["hosts"].items()}
    assert found == {first.name: "in-sync", second.name: "serving"}
    assert kit.state()["lock"] is None
    assert other.state()["lock"] is None
