"""`stackpin artifact`, and what a deploy learns of an artifact that is built."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_artifacts_build import commit, run_git

from stackpin.artifacts import building
from stackpin.cli import main
from stackpin.config.sources import git
from stackpin.config.stacks import stack
from stackpin.errors import Refused
from stackpin.rollout.checking import check_inventory
from stackpin.rollout.closing import _described
from stackpin.rollout.making import made

SOURCE = git("app", build=["cp main server"], outputs=["server"])


@pytest.fixture
def place(memory_path, monkeypatch) -> Path:
    """A repository of an inventory, and one of an application beside it."""
    monkeypatch.chdir(memory_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(memory_path / "cache"))
    monkeypatch.setenv("CRM_TOKEN", "a token of the tests")
    monkeypatch.setattr(building, "_ALWAYS", ("git",))
    Path("app").mkdir()
    run_git(Path("app"), "init", "-q", "--template=")
    commit(Path("app"), main="main\n")
    run_git(Path("app"), "tag", "v1.0.0")
    Path("group_data").mkdir()
    Path("group_data/all.py").write_text(
        f'crm_version = "v1.0.0"\ncrm_admin_token = "env:CRM_TOKEN"\ncrm_artifact = {SOURCE!r}\n'
    )
    Path("prod.py").write_text('web = [("web1", {"ssh_hostname": "10.0.0.1"})]\n')
    return memory_path


def test_what_a_deploy_learns(place):
    told: list[str] = []
    checked = check_inventory("prod.py", stack("crm"), (), {}, progress=told.append)
    found = checked.artifacts["web1"]["crm"]
    assert (found.name, found.size, found.version) == ("server", 5, "v1.0.0")
    assert any("1/1: cp main server" in line for line in told)
    evidence = _described(found)
    assert evidence.path == "server"  # where the cache is, is of no interest
    assert evidence.origin["commit"] == run_git(Path("app"), "rev-parse", "HEAD")
    assert evidence.origin["outputs"] == {"server": {"sha256": found.sha256, "size": 5}}


def test_another_version_and_none(place):
    ((version, found),) = made("prod.py", stack("crm"), (), {}, None, print)
    assert (version, found.cached) == ("v1.0.0", False)
    assert made("prod.py", stack("crm"), (), {}, "v1.0.0", print)[0][1].cached
    with pytest.raises(Refused, match=r"no tag or branch v9\.9\.9"):
        made("prod.py", stack("crm"), (), {}, "v9.9.9", print)
    with pytest.raises(Refused, match="expected a release tag"):
        made("prod.py", stack("crm"), (), {}, "latest", print)


def test_hosts_of_the_inventory_do_not_build(place):
    for host in ("web1", "ann@10.0.0.1"):
        data = {"crm_artifact": {**SOURCE, "build_host": host}}
        with pytest.raises(Refused, match="a host of this inventory"):
            check_inventory("prod.py", stack("crm"), (), data)


def test_one_executable_is_one_output(place):
    data = {"crm_artifact": {**SOURCE, "outputs": ["server", "main"]}}
    with pytest.raises(Refused, match="found 2 files"):
        check_inventory("prod.py", stack("crm"), (), data)


def test_show_and_prune(place):
    made("prod.py", stack("crm"), (), {}, None, print)
    shown = json.loads(CliRunner().invoke(main, ["artifact", "show", "--json"]).stdout)
    (entry,) = shown["entries"]
    assert entry["outputs"]["server"]["size"] == 5
    told = CliRunner().invoke(main, ["artifact", "show"]).stdout
    assert entry["commit"] in told
    os.utime(Path(entry["path"]).parent, (1, 1))
    gone = json.loads(CliRunner().invoke(main, ["artifact", "prune", "--json"]).stdout)
    assert gone["removed"] == [f"entries/{entry['inputs_digest']}"]


def test_the_command_prints_digests_and_commit(place):
    ran = CliRunner().invoke(main, ["artifact", "prod.py", "crm", "--json"])
    document = json.loads(ran.stdout)
    (found,) = document["artifacts"]
    assert found["commit"] == run_git(Path("app"), "rev-parse", "HEAD")
    assert found["outputs"]["server"]["size"] == 5
    assert (document["ok"], found["cached"], found["version"]) == (True, False, "v1.0.0")
    told = CliRunner().invoke(main, ["artifact", "prod.py", "crm"])
    assert found["outputs"]["server"]["sha256"] in told.stdout
    assert "(from the cache)" in told.stdout
