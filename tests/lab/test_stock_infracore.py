"""Stock pyinfra alone deploys InfraCore as units: safe, idempotent, bad versions refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from infracore_kit import Infracore
from project import host_name
from stock_host import changed

from stackpin.lab import Lab
from stackpin.lab.traffic import gate_traffic

pytestmark = pytest.mark.timeout(900)
GOOD, BAD, NEXT = "v1.0.0", "v1.2.0", "v1.1.0"


@pytest.fixture(scope="module")
def core(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Infracore]:
    host = lab.reset(host_name(lab))
    yield Infracore.make(lab, host, tmp_path_factory.mktemp("stock"))


def settings(core: Infracore) -> list[str]:
    """Every file with its digest, without the data: the services write to it all the time."""
    return [line for line in core.tree().splitlines() if "/var/lib/infra-core/" not in line]


def test_refused_before_anything_is_touched(core: Infracore):
    before = core.tree()
    ran = core.pyinfra(infracore_verson=GOOD).exits(1)
    assert "Did you mean infracore_version" in ran.text
    assert "Traceback" not in ran.text
    assert core.tree() == before


def test_one_deploy_file_brings_up_a_bare_host(core: Infracore):
    core.pyinfra().exits(0)
    core.runs(GOOD)
    assert core.outside("/api/v1/health")[0] == 200
    core.register("before")


def test_a_second_run_changes_nothing(core: Infracore):
    before = core.processes(), settings(core)
    assert changed(core.pyinfra().exits(0)) == []
    assert (core.processes(), settings(core)) == before


def test_the_host_itself_refuses_a_bad_version(core: Infracore):
    """Each part by itself is safe; to take back the others of a run takes the stackpin command."""
    core.pin(BAD)
    with gate_traffic(core.lab, core.host.name) as load:
        ran = core.pyinfra().exits(1)
        result = load.stop()
    assert "infracore-console" in ran.text
    assert (result.failed, result.lost) == (0, []), result.samples
    served = core.versions()
    assert (served["console"], served["gate"]) == (GOOD, GOOD)
    core.healthy()
    assert core.login("before")[0] == 200


def test_the_next_good_version_needs_no_help(core: Infracore):
    core.pin(NEXT)
    core.pyinfra().exits(0)
    core.runs(NEXT)
    assert core.settled()
    assert core.login("before")[0] == 200
