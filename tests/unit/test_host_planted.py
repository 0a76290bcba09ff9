"""What a service could plant in its own directories, and whose accounts an uninstall leaves."""

from __future__ import annotations

import grp
import os
import pwd
import sqlite3
from pathlib import Path

import pytest

from stackpin.host import rehearsal, rehearsal_unit, restore, sqlite_db, uninstall
from stackpin.host.errors import HostError
from stackpin.host.stack import Stack
from tests.unit.host_core_fakes import Host


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def test_restore_writes_through_no_link(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, 65534, 65534)
    (data / "crm.db").write_bytes(b"live")
    victim = tmp_path / "cron"
    victim.write_text("root's")
    (data / ".crm.db.restoring").symlink_to(victim)
    source = tmp_path / "source"
    source.write_bytes(b"backup")
    restore._replace(data / "crm.db", source, sound=True)
    assert victim.read_text() == "root's" and victim.stat().st_uid == os.getuid()
    found = (data / "crm.db").lstat()
    assert (data / "crm.db").read_bytes() == b"backup" and not (data / "crm.db").is_symlink()
    assert (found.st_mode & 0o777, found.st_uid) == (0o600, 65534)


@pytest.mark.parametrize("name", ["crm.db", "crm.db-wal"])
def test_no_database_behind_a_link_is_read_or_written(host: Host, name: str) -> None:
    stack = host.install()
    database = stack.at(str(stack.database))
    secret = host.root / "secret.db"
    database.rename(secret)
    if name != "crm.db":
        secret.rename(database)
        secret.write_bytes(b"root's" * 1000)
    before = secret.read_bytes()
    (database.parent / name).symlink_to(secret)
    assert restore._is_sound(database) is False
    assert secret.read_bytes() == before
    with pytest.raises(sqlite3.Error, match="expected a plain file"):
        sqlite_db.open_read_only(database)
    with pytest.raises(HostError, match="could not be copied for the rehearsal"):
        rehearsal._copy(stack, rehearsal_unit)


def test_rehearsal_copies_into_a_directory_that_is_roots(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = host.install(user="nobody")
    victim = host.root / "cron"
    victim.write_text("root's")
    stack.rehearsal_dir.mkdir()
    os.chown(stack.rehearsal_dir, 65534, 65534)
    (stack.rehearsal_dir / "crm.db").symlink_to(victim)
    seen = []
    real = sqlite_db.copy

    def copy(source: Path, target: Path) -> None:
        found = target.parent.stat()
        seen.append((found.st_uid, found.st_mode & 0o777, os.path.lexists(target)))
        real(source, target)

    monkeypatch.setattr(sqlite_db, "copy", copy)
    rehearsal._copy(stack, rehearsal_unit)
    assert seen == [(0, 0o700, False)] and victim.read_text() == "root's"
    owner = pwd.getpwnam("nobody").pw_uid
    assert stack.rehearsal_dir.stat().st_uid == owner
    assert (stack.rehearsal_dir / "crm.db").stat().st_uid == owner


def account(
    patch: pytest.MonkeyPatch, uid: int = 990, home: str = "/nonexistent", login: str = "nologin",
    group: str = "crm",
) -> None:  # fmt: skip
    entry = pwd.struct_passwd(("crm", "x", uid, 990, "", home, f"/usr/sbin/{login}"))
    patch.setattr(pwd, "getpwnam", lambda _name: entry)
    own = grp.struct_group((group, "x", 990, []))
    patch.setattr(grp, "getgrgid", lambda _gid: own)


def users(stack: Stack) -> list[str]:
    listed = uninstall.uninstall_list(stack, {})["remove"]
    return [item["user"] for item in listed if "user" in item]


def test_uninstall_takes_only_an_account_made_for_the_stack(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = host.install(user="crm")
    account(monkeypatch)
    assert users(stack) == ["crm"]
    account(monkeypatch, login="false")
    assert users(stack) == ["crm"]
    for other in ({"uid": 1000}, {"home": "/var/www"}, {"login": "sh"}, {"group": "www-data"}):
        account(monkeypatch, **other)
        assert users(stack) == [], other
    monkeypatch.undo()
    monkeypatch.setenv("STACKPIN_ROOT", str(host.root))
    assert users(host.install(user="www-data")) == []


@pytest.mark.parametrize("text", ["{broken", "[]", '{"user": "crm"}'])
def test_a_stack_that_cannot_be_read_is_there_all_the_same(
    host: Host, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    stack = host.install(user="crm")
    account(monkeypatch)
    ours = [host.root / "usr/local/lib/stackpin", host.root / uninstall.BOOT_UNIT.lstrip("/")]
    for path in ours:
        path.mkdir(parents=True)

    def listed() -> set[str]:
        return {str(item.get("path")) for item in uninstall.uninstall_list(stack, {})["remove"]}

    assert {str(path) for path in ours} <= listed()
    other = host.root / "etc/stackpin/portal/stack.json"
    other.parent.mkdir()
    other.write_text(text)
    assert not {str(path) for path in ours} & listed()
    assert users(stack) == []
