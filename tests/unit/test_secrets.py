"""References to secrets: each kind resolves, each failure says what to do, no value is shown."""

import logging
import sys

import pyrage
import pytest

from stackpin import secrets
from stackpin.config.crm import CrmSettings
from stackpin.config.load import load
from stackpin.config.problems import ConfigProblems
from stackpin.config.types import SecretRef
from stackpin.redact import MASK, redact

TOKEN = "t0ken $&|/\"'` end"


@pytest.fixture(autouse=True)
def _fresh(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv(secrets.IDENTITY, raising=False)
    secrets.forget()
    yield
    secrets.forget()


def value(text, **more):
    return secrets.resolve(SecretRef.of(text), **more).get_secret_value()


def refused(text):
    with pytest.raises(secrets.SecretError) as caught:
        value(text)
    return caught.value


def test_environment(monkeypatch):
    monkeypatch.setenv("CRM", TOKEN)
    assert value("env:CRM") == TOKEN
    assert redact(TOKEN) == MASK
    assert TOKEN not in repr(secrets.resolve(SecretRef.of("env:CRM")))
    assert "export NOPE=" in refused("env:NOPE").remedy


def test_file_is_read_and_open_modes_are_told(tmp_path, caplog):
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o600)
    assert value(f"file:{path}") == TOKEN
    assert not caplog.records
    secrets.forget()
    path.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        assert value("file:~/token") == TOKEN
    assert "chmod 600" in caplog.text
    assert TOKEN not in caplog.text
    assert "no such file" in refused("file:~/absent").found


def test_command_runs_once_without_a_shell(tmp_path):
    script = tmp_path / "pw.py"
    script.write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write('x'); print({TOKEN!r})")
    ref = f"command:{sys.executable} {script} $(id) ';'"
    assert value(ref) == value(ref) == TOKEN
    assert (tmp_path / "ran").read_text() == "x"


def test_failing_command_shows_stderr_not_stdout(tmp_path):
    script = tmp_path / "pw.py"
    script.write_text(f"import sys; print({TOKEN!r}); sys.exit('vault is locked')")
    error = refused(f"command:{sys.executable} {script}")
    assert "vault is locked" in error.found
    assert TOKEN not in str(error)
    assert "cannot be run" in refused("command:/no/such/program").found
    assert "cannot be run" in refused("command:unbalanced 'quote").found


def test_age(tmp_path, monkeypatch):
    key = pyrage.x25519.Identity.generate()
    (tmp_path / "key").write_text(f"# created\n{key}\n")
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "token.age").write_bytes(pyrage.encrypt(TOKEN.encode(), [key.to_public()]))
    assert "no age identity" in refused("age:~/token.age").found
    monkeypatch.setenv(secrets.IDENTITY, str(tmp_path / "key"))
    assert value("age:~/token.age") == TOKEN
    stranger = pyrage.x25519.Identity.generate()
    (tmp_path / "other.age").write_bytes(pyrage.encrypt(b"whatever", [stranger.to_public()]))
    assert "does not decrypt" in refused("age:~/other.age").found
    (tmp_path / "broken.age").write_text("no age file")
    assert "does not decrypt" in refused("age:~/broken.age").found


@pytest.mark.parametrize(
    "bad",
    ["", "  ", "short", "two\nlines-of-it", "tab\tinside-it", " blank-before", "\x1b[31mred-text"],
)
def test_unusable_values_are_refused_unseen(bad, monkeypatch):
    monkeypatch.setenv("BAD", bad)
    error = refused("env:BAD")
    assert not bad.strip() or bad not in str(error)


def test_keys_may_have_lines(tmp_path):
    path = tmp_path / "key.pem"
    path.write_text("-----BEGIN X-----\nabc\n-----END X-----\n")
    path.chmod(0o600)
    assert value(f"file:{path}", multiline=True).count("\n") == 3
    with pytest.raises(secrets.SecretError):
        value(f"file:{path}")


def test_not_text(tmp_path):
    (tmp_path / "bin").write_bytes(b"\xff" * 20)
    (tmp_path / "big").write_bytes(b"x" * (secrets.LONGEST + 1))
    assert "UTF-8" in refused("file:~/bin").found
    assert "more than" in refused("file:~/big").found


def test_resolver_tells_every_missing_secret_at_once(monkeypatch):
    monkeypatch.delenv("NOPE", raising=False)
    data = {
        "crm_version": "v1.0.0",
        "crm_admin_token": "env:NOPE",
        "crm_admin_password": "file:/no",
    }
    crm = load(CrmSettings, "crm_", data, "h1")
    with pytest.raises(ConfigProblems) as caught:
        secrets.resolver(crm, "h1", {"crm_admin_token": "prod.py"})
    assert {p.variable for p in caught.value.problems} == {"crm_admin_token", "crm_admin_password"}
    assert caught.value.problems[0].file == "prod.py"
    monkeypatch.setenv("NOPE", TOKEN)
    crm = load(CrmSettings, "crm_", {**data, "crm_admin_password": None}, "h1")
    assert crm.environment(secrets.resolver(crm, "h1"))["SUB2API_CRM_ADMIN_TOKEN"] == TOKEN
