"""`stackpin check` says what it accepted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from stackpin.artifacts import Artifact
from stackpin.cli import main
from stackpin.rollout import checking
from stackpin.rollout.checking import Checked


def test_version_and_artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = Artifact(tmp_path / "artifacts/crm.pyz", "crm.pyz", "v1.1.0", "ab" * 32, 4096)
    settings = {"a": {"crm": None}, "b": {"crm": None}}
    found = Checked(settings, {"a": {"crm": file}, "b": {"crm": file}})  # type: ignore[arg-type]
    monkeypatch.setattr(checking, "check_inventory", lambda *_, **__: found)
    told = CliRunner().invoke(main, ["check", "inventories/prod", "crm"])
    assert told.stdout.splitlines() == [
        "inventories/prod: crm is valid for 2 host(s)",
        f"crm v1.1.0: artifacts/crm.pyz, 4096 bytes, SHA-256 {'ab' * 32}",
    ]
    document = json.loads(CliRunner().invoke(main, ["check", "x", "crm", "--json"]).stdout)
    accepted = {
        "version": "v1.1.0",
        "path": "artifacts/crm.pyz",
        "sha256": "ab" * 32,
        "size": 4096,
    }
    assert document["artifacts"] == {"a": {"crm": accepted}, "b": {"crm": accepted}}
    assert document["hosts"] == ["a", "b"]
