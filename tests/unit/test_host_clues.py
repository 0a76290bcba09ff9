"""Logs and certificates as `clues` reads them on a host."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stackpin.host import clues, main
from stackpin.host.stack import Stack

SETTINGS: dict[str, Any] = {
    "owned": ["/etc/nginx/sites-enabled/stackpin-infra.conf", "/etc/infra"],
    "env_files": ["/etc/infra/secrets.env"],
}
PLANTED = {"old-token-000111", "new-token-222333", "made-here-444555"}


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """Slot blue holds the newer of two releases; each has a token of its own."""
    monkeypatch.setenv("STACKPIN_ROOT", str(tmp_path))
    files = {
        "etc/stackpin/infra/stack.json": json.dumps(SETTINGS),
        "etc/infra/secrets.env": 'JWT_SECRET="made-here-444555"\n',
        "opt/infra/releases/v1/env": 'ADMIN_TOKEN="old-token-000111"\n',
        "opt/infra/releases/v2/env": 'ADMIN_TOKEN="new-token-222333"\n',
        "etc/nginx/sites-enabled/stackpin-infra.conf": "ssl_certificate /etc/infra/c.pem;\n"
        "ssl_certificate_key /etc/infra/k.pem;\n  ssl_certificate /etc/infra/absent.pem;\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    made = Stack.load("infra")
    made.slots_dir.mkdir()
    made.slot_link("blue").symlink_to("../releases/v2")
    return made


def test_no_secret_of_any_release_is_in_a_log(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stackpin.host.masking import Masker

    def last_log(_stack: Stack, _slot: str, env: dict[str, str], lines: int) -> list[str]:
        assert lines == 5
        mask = Masker.of(env)
        return [mask(f"began with {secret}") for secret in sorted(PLANTED)]

    monkeypatch.setattr(clues, "driver", lambda _: SimpleNamespace(last_log=last_log))
    assert main.perform("clues", "infra", {"lines": 5})["logs"] == {"blue": ["began with ***"] * 3}


def test_certificates_of_the_stacks_site(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clues, "_logs", lambda *_: {})
    key, made = stack.at("/etc/infra/k.pem"), stack.at("/etc/infra/c.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "9", "-subj", "/CN=x", "-keyout", str(key), "-out", str(made)],
        check=True, capture_output=True,
    )  # fmt: skip
    first, second = main.perform("clues", "infra", {})["certificates"]
    assert (first["path"], round(first["days"]), first["problem"]) == ("/etc/infra/c.pem", 9, "")
    assert second["days"] is None and "absent.pem" in second["problem"]
    made.write_text("no certificate")
    assert main.perform("clues", "infra", {})["certificates"][0]["days"] is None


def test_an_absent_stack_has_none(stack: Stack) -> None:
    assert main.perform("clues", "ghost", {}) == {"logs": {}, "certificates": []}
