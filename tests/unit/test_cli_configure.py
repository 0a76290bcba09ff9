"""`configure`: what is listed, what is judged, and what is written, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from stackpin.cli import configure as command
from stackpin.cli import main

GROUP = """\
# The CRM.
crm_version = "v1.0.0"
crm_admin_token = "env:CRM_TOKEN"
crm_keep_releases = 3  # enough
crm_user = "crm" + ""
crm_env = {"ACCESS": "not-for-show"}
"""


@pytest.fixture(autouse=True)
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("gevent.monkey.patch_all", lambda **_: True)
    monkeypatch.delenv("CRM_TOKEN", raising=False)
    folder = tmp_path / "inventories"
    (folder / "group_data").mkdir(parents=True)
    (folder / "group_data/prod.py").write_text(GROUP)
    (folder / "prod.py").write_text('relays = ["a", ("b", {"crm_drain_seconds": 5.0})]\n')
    (folder / "prod").symlink_to("prod.py")
    monkeypatch.chdir(tmp_path)
    return folder


def run(*words: str, stdin: str = "") -> Result:
    return CliRunner().invoke(main, ["configure", "inventories/prod", "crm", *words], input=stdin)


def text(inventory: Path) -> str:
    return (inventory / "group_data/prod.py").read_text()


def test_it_lists_value_default_meaning_and_file(inventory: Path) -> None:
    done = run("--json")
    assert done.exit_code == 0, done.output
    known = {one["name"]: one for one in json.loads(done.stdout)["variables"]}
    assert known["crm_keep_releases"]["value"] == "3"
    assert known["crm_keep_releases"]["default"] == "5"
    assert "Releases kept" in known["crm_keep_releases"]["description"]
    assert known["crm_keep_releases"]["files"] == ["inventories/group_data/prod.py"]
    assert known["crm_drain_seconds"]["values"] == {"b": "5.0"}
    assert known["crm_admin_token"]["value"] == "'env:CRM_TOKEN'"
    assert known["crm_version"]["default"] == "required"
    assert known["stackpin_lock_ttl"]["value"] == "60"
    assert "not-for-show" not in done.output
    assert text(inventory) == GROUP


def test_only_the_literal_changes_and_new_ones_go_to_the_end(inventory: Path) -> None:
    done = run(
        "--set", "crm_keep_releases=7", "--set", "crm_rehearsal=false", "--set",
        'crm_gate={"min_healthy": 20, "timeout": 120}', "--yes",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert text(inventory) == GROUP.replace("= 3 ", "= 7 ") + (
        'crm_rehearsal = False\ncrm_gate = {"min_healthy": 20, "timeout": 120}\n'
    )
    assert "-crm_keep_releases = 3  # enough" in done.stdout
    assert "+crm_keep_releases = 7  # enough" in done.stdout


@pytest.mark.parametrize(
    ("pair", "told"),
    [
        ("crm_keep_releases=many", "expected a whole number"),
        ("crm_keep_releases=1", "expected at least 2"),
        ("crm_rehearsal=maybe", "expected True or False"),
        ("crm_keep_release=3", "Did you mean crm_keep_releases?"),
        ("crm_admin_token=hunter2hunter2", "a secret value must be a reference"),
        ("crm_version=v1.1.0", "`stackpin update`"),
        ("crm_user=relay", "prod.py:5: found crm_user computed by an expression"),
        ("crm_drain_seconds=3", "set for b in the inventory itself"),
        ("crm_gate={}x", "expected"),
        ("crm_keep_releases", "expected KEY=VALUE"),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_is_written(
    inventory: Path, pair: str, told: str
) -> None:
    done = run("--set", "crm_backup_keep_last=3", "--set", pair, "--yes")
    assert done.exit_code == 3, done.output
    assert told in done.stderr
    assert "hunter2" not in done.output
    assert text(inventory) == GROUP


def test_a_value_that_is_wrong_for_one_host_only_is_refused(inventory: Path) -> None:
    ports = '{"blue": 1, "green": 2, "rehearsal": 3}'
    (inventory / "group_data/prod.py").write_text(GROUP + f"crm_ports = {ports}\n")
    (inventory / "prod.py").write_text('relays = ["a", ("b", {"crm_gate": {"timeout": 1.0}})]\n')
    before = text(inventory)
    done = run("--set", "crm_keep_releases=4", "--yes")
    assert done.exit_code == 3
    assert "host b" in done.stderr
    assert text(inventory) == before


def test_the_whole_file_is_judged_as_it_would_be(inventory: Path) -> None:
    """A variable computed from the changed one is judged with it."""
    (inventory / "group_data/prod.py").write_text(
        GROUP + "crm_backup_keep_daily = crm_keep_releases - 5\n"
    )
    assert run("--set", "crm_keep_releases=4", "--yes").exit_code == 3
    assert run("--set", "crm_keep_releases=6", "--yes").exit_code == 0


def test_variables_that_do_not_fit_together_are_refused(inventory: Path) -> None:
    gate = 'crm_gate={"consecutive": 50, "timeout": 200}'
    done = run("--set", gate, "--set", "crm_guard_seconds=100", "--yes")
    assert done.exit_code == 3
    assert "the guard fires while the new slot is still probed" in done.stderr
    assert text(inventory) == GROUP


def test_dry_shows_the_change_and_ends_with_2(inventory: Path) -> None:
    done = run("--set", "crm_keep_releases=7", "--dry")
    assert done.exit_code == 2
    assert "+crm_keep_releases = 7" in done.stdout
    assert text(inventory) == GROUP
    same = run("--set", "crm_keep_releases=3", "--dry")
    assert (same.exit_code, "nothing to change" in same.stdout) == (0, True)


def test_without_agreement_nothing_is_written(inventory: Path) -> None:
    assert run("--set", "crm_keep_releases=7").exit_code == 3
    assert text(inventory) == GROUP


def test_a_secret_stays_a_reference(inventory: Path) -> None:
    done = run("--set", "crm_admin_password=command:pass show crm", "--yes")
    assert done.exit_code == 0, done.output
    assert text(inventory).endswith('crm_admin_password = "command:pass show crm"\n')


def test_prompts_ask_again_until_a_value_is_right(
    inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_interactive", lambda _out: True)
    told = "nonsense\ncrm_keep_releases\nmany\n8\ncrm_backup_keep_last\n\n\n"
    done = run("--yes", stdin=told)
    assert done.exit_code == 0, done.output
    assert "an unknown variable" in done.stderr
    assert "now 3, default 5" in done.output
    assert "expected a whole number" in done.stderr
    assert text(inventory) == GROUP.replace("= 3 ", "= 8 ")


def test_one_set_elsewhere_is_changed_there(inventory: Path) -> None:
    (inventory / "group_data/relays.py").write_text("crm_start_timeout = 30.0\n")
    done = run("--set", "crm_start_timeout=40", "--yes")
    assert done.exit_code == 0, done.output
    assert (inventory / "group_data/relays.py").read_text() == "crm_start_timeout = 40\n"
    assert text(inventory) == GROUP


def test_every_stack_lists_its_variables(inventory: Path) -> None:
    (inventory / "prod.py").write_text('infracore = ["a"]\nxingrin = ["a"]\n')
    for stack, some in (("infracore", "infracore_mode"), ("xingrin", "xingrin_version")):
        done: Any = CliRunner().invoke(main, ["configure", "inventories/prod", stack, "--json"])
        assert done.exit_code == 0, done.output
        assert some in {one["name"] for one in json.loads(done.stdout)["variables"]}
