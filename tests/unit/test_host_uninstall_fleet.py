"""What goes and what stays when the server stack of a fleet is uninstalled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stackpin.care.removal import lines
from stackpin.host import uninstall, uninstall_docker, uninstall_firewall
from stackpin.host.errors import HostError
from stackpin.host.stack import Stack
from stackpin.host.system import Result

STACK = "xingrin-server"
UNIT = f"stackpin-firewall@{STACK}.service"


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    monkeypatch.setenv("STACKPIN_ROOT", str(tmp_path))
    monkeypatch.setattr(uninstall_docker, "listed", lambda _: [])
    settings = tmp_path / "etc/stackpin" / STACK
    settings.mkdir(parents=True)
    document = {
        "kind": "compose",
        "user": "root",
        "postgres": {"service": "postgres"},
        "env_files": [f"/etc/stackpin/{STACK}/secrets.env"],
    }
    (settings / "stack.json").write_text(json.dumps(document))
    for name in ("secrets.env", "firewall.nft"):
        (settings / name).write_text("x")
    units = tmp_path / "etc/systemd/system"
    (units / "multi-user.target.wants").mkdir(parents=True)
    (units / "stackpin-firewall@.service").write_text("x")
    (units / "multi-user.target.wants" / UNIT).symlink_to("../stackpin-firewall@.service")
    return Stack.load(STACK)


def test_the_firewall_goes_and_the_databases_password_stays(stack: Stack) -> None:
    answer = uninstall.uninstall_list(stack, {})
    told = list(lines(answer))
    wanted = (f"unit {UNIT}", "table inet stackpin_xingrin_server", "stackpin-firewall@.service")
    for subject in wanted:
        assert any(line.startswith("remove ") and subject in line for line in told), subject
    secrets = f"{stack.settings_dir}/secrets.env"
    assert secrets in [item["path"] for item in answer["keep"]]
    gone = [item["path"] for item in answer["remove"] if "path" in item]
    assert f"{stack.settings_dir}/stack.json" in gone
    assert secrets not in gone and str(stack.settings_dir) not in gone


def test_another_stacks_firewall_keeps_the_unit_file(stack: Stack) -> None:
    other = stack.settings_dir.parent / "other"
    other.mkdir()
    (other / "firewall.nft").write_text("x")
    assert not [item for item in uninstall_firewall.listed(stack) if "path" in item]
    (stack.settings_dir / "firewall.nft").unlink()
    assert uninstall_firewall.listed(stack) == []


def test_a_table_that_does_not_go_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def run(argv: list[str], **_: Any) -> Result:
        asked.append(argv)
        return Result(0, "", "")

    monkeypatch.setattr(uninstall_firewall.system, "run", run)
    with pytest.raises(HostError, match="table inet stackpin_x does not go"):
        uninstall_firewall.remove({"table": "inet stackpin_x"})
    assert asked[0] == ["nft", "delete", "table", "inet", "stackpin_x"]
    assert not uninstall_firewall.remove({"path": "/x"})
