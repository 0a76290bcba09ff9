"""Declared packages and endpoints, and the needs of a host's parts made one."""

from __future__ import annotations

from typing import Any

import pytest

from stackpin.config.crm import CrmSettings
from stackpin.config.load import load
from stackpin.config.needs import merged
from stackpin.config.packages import wanted
from stackpin.config.problems import ConfigProblems


def crm(**shared: Any) -> CrmSettings:
    data = {"crm_version": "v1.0.0", "crm_admin_token": "env:T"}
    return load(CrmSettings, "crm_", data | {f"stackpin_{k}": v for k, v in shared.items()}, "a")


@pytest.mark.parametrize("spec", ["", "-x", "a b", "a=", "a=1*2", "a=*", "a==1", "a;b", "a=$(x)"])
def test_a_package_no_manager_would_understand_is_refused(spec: str) -> None:
    with pytest.raises(ConfigProblems, match="stackpin_packages"):
        crm(packages=[spec])
    assert crm(packages=["git", "g++=4:14.2.0-1", "restic=0.18*"])


def test_the_last_pin_of_a_package_counts() -> None:
    assert wanted(["restic", "git", "restic=0.18*", "restic"]) == wanted(["restic=0.18*", "git"])
    assert [one.argument("apt") for one in wanted(["b=1", "b=2", "a"])] == ["a", "b=2"]


@pytest.mark.parametrize(
    "address",
    ["db", "db:0", "db:99999", ":80", "ftp://x/", "https://u:p@x/", "x:1/path", "https://", "x :1"],
)
def test_an_address_nobody_could_reach_is_refused(address: str) -> None:
    with pytest.raises(ConfigProblems, match="stackpin_endpoints"):
        crm(endpoints={address: "fail"})


def test_what_every_stack_needs() -> None:
    shared = crm(
        min_cpus=2, endpoints={"db.example.net:5432": "warn"}, recommended={"memory_mb": 8192}
    ).shared
    assert shared.needs() == {
        "cpus": 2,
        "kernel": "4.18",
        "recommended": {"cpus": None, "memory_mb": 8192, "disk_mb": None},
        "endpoints": [{"address": "db.example.net:5432", "severity": "warn"}],
    }
    with pytest.raises(ConfigProblems, match="stackpin_min_kernel"):
        crm(min_kernel="five")


def test_needs_of_all_parts_are_asked_once() -> None:
    endpoint = {"address": "a:1", "severity": "fail"}
    one = {
        "disk_mb": 100, "memory_mb": 50, "artifact_bytes": 3, "database": "/d", "paths": ["/opt"],
        "kernel": "5.4", "versions": {"git": "2.25"}, "recommended": {"cpus": 4, "disk_mb": None},
        "endpoints": [endpoint], "ports": [1],
    }  # fmt: skip
    two = {
        "disk_mb": 50, "memory_mb": 80, "artifact_bytes": 4, "database": "/d", "docker": True,
        "paths": ["/opt", "/srv"], "kernel": "5.10", "versions": {"git": "2.9", "docker": "20.10"},
        "endpoints": [endpoint], "cpus": 2,
    }  # fmt: skip
    assert merged([one, two]) == {
        "disk_mb": 100, "memory_mb": 80, "memory_total_mb": 0, "cpus": 2,
        "artifact_bytes": 7, "image_bytes": 0,
        "paths": ["/opt", "/srv"], "commands": [], "databases": ["/d"], "endpoints": [endpoint],
        "registries": [], "docker": True, "kernel": "5.10",
        "versions": {"git": "2.25", "docker": "20.10"}, "recommended": {"cpus": 4},
    }  # fmt: skip
