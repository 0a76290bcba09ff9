"""A rehearsal of a service whose database is shared and lies elsewhere."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stackpin.host import rehearsal, rehearsal_unit, releases, units
from stackpin.host.stack import Stack
from tests.unit.host_core_fakes import Host

UNIT = """[Service]
WorkingDirectory=/opt/files/releases/v1/site
BindReadOnlyPaths=/opt/files/releases/v1/site/ui:/app/ui
BindReadOnlyPaths=-/var/lib/shared/pictures:/app/pictures
ReadWritePaths=/var/lib/shared
ExecStart=/opt/crm/slots/%i/server
"""
DATABASE = "/var/lib/shared/console.db"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def look_at_it(host: Host, patch: pytest.MonkeyPatch, unit: str, **more: Any) -> dict[str, Any]:
    """Rehearse a release; return its drop-in, variables and copies as they were meanwhile."""
    stack = host.install(**more)
    host.receive("v1")
    (stack.release_dir("v1") / "unit").write_text(unit)
    seen: dict[str, Any] = {}

    def start(stack: Stack, slot: str) -> None:
        seen["drop_in"] = rehearsal_unit.drop_in(stack).read_text().splitlines()
        seen["env"] = releases.environment(stack, "v1", slot)
        seen["copies"] = sorted(path.name for path in stack.rehearsal_dir.iterdir())
        for path in stack.rehearsal_dir.glob("*.db"):
            with closing(sqlite3.connect(path)) as db:
                seen["rows"] = db.execute("SELECT count(*) FROM t").fetchone()[0]
        host.active.add(slot)

    patch.setattr(units, "start", start)
    seen["answer"] = rehearsal.rehearse(stack, "v1", lambda: None, rehearsal_unit)
    assert not list(stack.rehearsal_dir.iterdir())
    return seen


def test_a_shared_database_is_copied_and_its_directory_hidden(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = host.root / DATABASE[1:]
    database.parent.mkdir(parents=True)
    live = sqlite3.connect(database)
    live.execute("PRAGMA journal_mode = WAL")
    live.execute("CREATE TABLE t(x)")
    live.execute("INSERT INTO t VALUES (1)")
    live.commit()  # in the WAL, which a plain copy would leave behind
    (host.root / "etc/shared").mkdir(parents=True)
    (host.root / "etc/shared/secrets.env").write_text('JWT_SECRET="geheim"\nA="host"\n')
    slot_file = host.root / "etc/stackpin/crm/slots/rehearsal.env"
    slot_file.parent.mkdir(parents=True)
    slot_file.write_text('A="slot"\nDB_PATH="/var/lib/crm/rehearsal/console.db"\n')

    seen = look_at_it(
        host, monkeypatch, UNIT, database=DATABASE, env_files=["/etc/shared/secrets.env"]
    )

    live.close()
    assert seen["copies"] == ["console.db"] and seen["rows"] == 1
    assert "InaccessiblePaths=-/var/lib/shared" in seen["drop_in"]
    assert "InaccessiblePaths=-/var/lib/crm/data" in seen["drop_in"]
    assert "WorkingDirectory=/opt/files/releases/v1/site" in seen["drop_in"]
    bound = [line for line in seen["drop_in"] if line.startswith("BindReadOnlyPaths")]
    assert bound == ["BindReadOnlyPaths=/opt/files/releases/v1/site/ui:/app/ui"]
    assert seen["env"]["JWT_SECRET"] == "geheim"
    assert (seen["env"]["A"], seen["env"]["DB_PATH"][-10:]) == ("slot", "console.db")


@pytest.mark.parametrize("place", ["/", "/var/lib/crm/data", "-/var/lib/crm/data/x"])
def test_a_service_without_a_database_starts_beside_what_is_live(
    host: Host, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    unit = f"[Service]\nWorkingDirectory={place}\n"
    seen = look_at_it(host, monkeypatch, unit, database=None)
    assert seen["copies"] == []
    assert "WorkingDirectory=/var/lib/crm/rehearsal" in seen["drop_in"]
    assert seen["answer"]["copied"] == {"database": None, "repository": None}
