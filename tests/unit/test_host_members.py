"""A static stack that keeps the data of its members: backup, restore, pruning, removal."""

from __future__ import annotations

import grp
import json
import pwd
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stackpin.host import (
    data_users,
    findings,
    main,
    members,
    pruning,
    restic,
    restore,
    snapshot,
    uninstall,
)
from stackpin.host.errors import HostError
from stackpin.host.reading import Reading
from stackpin.host.stack import Stack

DATABASE = "/var/lib/infra/console.db"
TREES = "/opt/infra"
FILES = "infra-files"
KEEPER: dict[str, Any] = {
    "kind": "static", "user": "root", "opt": TREES, "data": "/var/lib/infra-files",
    "database": DATABASE, "static": {"root": TREES, "link": "current"}, "keep_releases": 1,
    "members": ["infra-snap", "infra-console", "infra-absent"],
    "backup": {"repository": "/var/backups/infra/restic", "keep_last": 1, "keep_daily": 0,
               "paths": ["/etc/infra"]},
}  # fmt: skip


@pytest.fixture
def keeper(memory_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """The keeper with three trees, the newest live, and two services that need two of them."""
    monkeypatch.setenv("STACKPIN_ROOT", str(memory_path))
    put(memory_path / "etc/stackpin" / FILES / "stack.json", json.dumps(KEEPER))
    put(memory_path / "etc/infra/secrets.env", 'JWT_SECRET="geheim"\n')
    for number, tree in enumerate(("t1", "t2", "t3")):
        site = memory_path / "opt/infra/releases" / tree
        put(site / "site/configs/production.yaml", tree)
        put(site / "release.json", json.dumps({"version": tree, "created": str(number)}))
    (memory_path / "opt/infra/current").symlink_to("releases/t3/site")
    for service, tree in (("snap", "t1"), ("console", "t3")):
        name = f"infra-{service}"
        put(memory_path / "etc/stackpin" / name / "stack.json", json.dumps({"database": DATABASE}))
        release = memory_path / "opt" / name / "releases/v1"
        put(release / "unit", f"WorkingDirectory={TREES}/releases/{tree}/site\n")
        put(release / "release.json", json.dumps({"version": "v1"}))
        put(release / "env", 'TOKEN="x"\n')
        put(release / "server", "binary")
        slots = release.parents[1] / "slots"
        slots.mkdir()
        (slots / "blue").symlink_to("../releases/v1")
    write(memory_path / DATABASE[1:], 1)
    return Stack.load(FILES)


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write(database: Path, rows: int) -> None:
    database.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(database)) as db, db:
        db.execute("CREATE TABLE IF NOT EXISTS t(x)")
        db.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(rows)])


def count(keeper: Stack) -> int:
    with closing(sqlite3.connect(keeper.at(DATABASE))) as db:
        return int(db.execute("SELECT count(*) FROM t").fetchone()[0])


def test_a_snapshot_holds_what_brings_the_members_back(keeper: Stack, tmp_path: Path) -> None:
    meta = snapshot.build(keeper, tmp_path, reason="test", release=None)
    assert meta["live_release"] == "t3" and meta["database"]["tables"] == {"t": 1}
    for service in ("snap", "console"):
        for name in ("stack.json", "release/unit", "release/env", "release/release.json"):
            assert f"members/infra-{service}/{name}" in meta["files"]
    assert not [name for name in meta["files"] if "server" in name or "absent" in name]
    assert snapshot.problems(tmp_path, meta) == []
    used = [str(path.relative_to(keeper.at("/"))) for path in members.in_use(keeper)]
    assert used == [
        "opt/infra/releases/t3", "opt/infra-snap/releases/v1", "opt/infra-console/releases/v1",
    ]  # fmt: skip


def test_a_tree_a_member_names_is_never_pruned(keeper: Stack) -> None:
    told = pruning.prune(keeper, keep=1)
    assert told["removed"] == ["t2"]
    assert {"id": "t1", "why": "infra-snap v1 needs it"} in told["kept"]
    assert (keeper.release_dir("t1") / "site/configs/production.yaml").is_file()
    shutil.rmtree(keeper.at("/opt/infra-snap/releases/v1"))
    assert pruning.prune(keeper, keep=1)["removed"] == ["t1"]


class Services:
    """What starts and stops; `sick`: those whose checks fail."""

    def __init__(self, patch: pytest.MonkeyPatch, keeper: Stack) -> None:
        self.keeper, self.calls = keeper, []
        self.sick: set[str] = set()
        self.calls: list[str]
        patch.setattr(data_users, "driver", lambda _: self)
        patch.setattr(data_users, "wait_ready", lambda *_: 0.1)
        patch.setattr(data_users, "wait_healthy", self.healthy)

    def stop(self, stack: Stack, *_: str) -> None:
        self.calls.append(f"stop {stack.name}")

    def start(self, stack: Stack, slot: str) -> None:
        self.calls.append(f"start {stack.name} {slot}")

    def front(self, *_: object) -> None:
        pass

    def healthy(self, target: Any, *_: object, **__: object) -> dict[str, Any]:
        if target.stack.name in self.sick and count(self.keeper) == 1:
            raise HostError("gate", f"{target.stack.name}: status 500")
        result = {"name": target.stack.name, "ok": True, "required": True, "weight": 1.0}
        return {"gate": {"results": [result]}}


class Shelf:
    """Stands for the restic repository: keeps every backup as a copy of its first path."""

    location = "/shelf"

    def __init__(self, stack: Stack) -> None:
        self.base = stack.at("/var/shelf")

    def require_program(self) -> None:
        pass

    prepare = require_program

    def backup(self, paths: list[Path], _tags: list[str]) -> dict[str, Any]:
        number = f"{len(list(self.base.glob('*'))):064x}"
        shutil.copytree(paths[0], self.base / number)
        return {"snapshot_id": number}

    def forget(self) -> list[str]:
        return []

    def find(self, wanted: str | None) -> dict[str, Any]:
        return {"id": wanted or min(path.name for path in self.base.iterdir()), "time": "then"}

    def restore(self, wanted: str, target: Path, include: list[Path]) -> None:
        shutil.copytree(self.base / wanted, target / str(include[0]).lstrip("/"))


def test_a_restore_stops_all_members_and_puts_back_when_one_fails(
    keeper: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = Services(monkeypatch, keeper)
    for place in ("backup", "restore"):
        monkeypatch.setattr(f"stackpin.host.{place}.Repository", Shelf)
    made = main.perform("backup", FILES, {"reason": "one"})
    assert [Path(path).name for path in made["paths"]] == ["infra", "t3", "v1", "v1"]
    write(keeper.at(DATABASE), 5)
    dry = main.perform("restore", FILES, {"dry": True})
    assert dry["lost"] == {"t": {"now": 6, "then": 1}}
    asked = {"id": dry["snapshot"], "confirm_token": dry["confirm_token"]}
    with pytest.raises(HostError, match="not in maintenance"):
        main.perform("restore", FILES, asked)
    main.perform("maintenance", FILES, {"on": True})

    services.sick.add("infra-console")
    with pytest.raises(HostError, match="the previous database serves") as caught:
        main.perform("restore", FILES, asked)
    assert caught.value.kind == "gate" and count(keeper) == 6

    services.sick.clear()
    services.calls.clear()
    done = main.perform("restore", FILES, asked)
    assert services.calls == [
        "stop infra-console", "stop infra-snap", "start infra-snap blue",
        "start infra-console blue",
    ]  # fmt: skip
    assert [row["name"] for row in done["gate"]["results"]] == ["infra-snap", "infra-console"]
    assert count(keeper) == 1


@pytest.mark.skipif(not shutil.which("restic"), reason="restic is not installed")
def test_exactly_the_newest_backups_stay_and_nothing_else_goes(keeper: Stack) -> None:
    """The real restic; three more backups than are kept, none of them for its day."""
    repository = restic.Repository(keeper)
    repository.prepare()
    foreign = [keeper.at(f"/var/backups/infra/{name}") for name in ("a.tar.gz", "restic/b.txt")]
    for path in foreign:
        put(path, "not ours")
    for number in range(repository.keep_last + 3):
        repository.backup([keeper.at("/etc/infra")], [f"reason={number}"])
    assert len(repository.forget()) == 3
    left = [set(item["tags"]) & {"reason=3", "reason=2"} for item in repository.snapshots()]
    assert (repository.keep_last, repository.keep_daily) == (1, 0)
    assert left == [{"reason=3"}]
    assert all(path.read_text() == "not ours" for path in foreign)


def test_a_members_open_run_forbids_a_restore(keeper: Stack) -> None:
    keeper.maintenance_file.parent.mkdir(parents=True)
    keeper.maintenance_file.touch()
    member = Stack.load("infra-snap")
    put(member.run_file, json.dumps({"run": "r1", "stage": "started", "release": "v1"}))
    with pytest.raises(HostError, match="stack infra-snap: run r1 is not finished"):
        restore._allowed(keeper, {"confirm_token": "x"}, {"confirm_token": "x", "id": "i"})


def test_a_keepers_drift_and_removal(keeper: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    found = findings.look(Reading(keeper, None, {}, {}, []))
    assert {item.code for item in found} <= {
        "mode-wrong",
        "release-modified",
        "slot-journal-disagreement",
    }
    made = []
    monkeypatch.setattr(
        uninstall, "backup", lambda stack, _: made.append(stack.name) or {"id": "b"}
    )
    listed = main.perform("uninstall-list", FILES, {})
    with pytest.raises(HostError, match="infra-snap, infra-console need its data"):
        main.perform("uninstall", FILES, {"expect": listed["sha256"]})
    for name in ("infra-snap", "infra-console", FILES):
        if name == FILES:
            for member in members.installed(keeper):
                member.settings_file.unlink()
        listed = main.perform("uninstall-list", name, {})
        paths = [item["path"] for item in listed["remove"] if "path" in item]
        assert not [path for path in paths if DATABASE.rpartition("/")[0] + "/" in path + "/"]
        monkeypatch.setattr(uninstall, "_remove", lambda _item: None)
        main.perform("uninstall", name, {"expect": listed["sha256"]})
    assert made == [FILES]  # whose backup is the members', too


def test_the_account_goes_with_the_keeper_and_a_volume_stays(
    keeper: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = pwd.struct_passwd(("infra", "x", 990, 990, "", "/nonexistent", "/usr/sbin/nologin"))
    monkeypatch.setattr(pwd, "getpwnam", lambda _: entry)
    monkeypatch.setattr(grp, "getgrgid", lambda _: grp.struct_group(("infra", "x", 990, [])))
    volume = "/var/lib/docker/volumes/infra_data/_data"
    keeper.at(volume).mkdir(parents=True)
    put(keeper.settings_file, json.dumps(KEEPER | {"user": "infra", "data": volume}))
    for name in ("infra-snap", "infra-console"):
        put(Stack.load(name).settings_file, json.dumps({"user": "infra"}))
    assert "user" not in str(main.perform("uninstall-list", FILES, {})["remove"])
    listed = main.perform("uninstall-list", FILES, {"gone": ["infra-snap", "infra-console"]})
    assert {"user": "infra", "why": "service account of the stack"} in listed["remove"]
    assert str(keeper.at(volume)) in [item["path"] for item in listed["keep"]]
    assert str(keeper.at(volume)) not in [item.get("path") for item in listed["remove"]]
    member = main.perform("uninstall-list", "infra-snap", {})
    assert not [item for item in member["remove"] if "user" in item]


def test_data_that_stays_keeps_its_account_and_secrets(
    keeper: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = pwd.struct_passwd(("infra", "x", 990, 990, "", "/nonexistent", "/usr/sbin/nologin"))
    monkeypatch.setattr(pwd, "getpwnam", lambda _: entry)
    monkeypatch.setattr(grp, "getgrgid", lambda _: grp.struct_group(("infra", "x", 990, [])))
    keeper.at("/var/log/infra").mkdir(parents=True)
    owned = {"user": "infra", "data": "/var/lib/infra", "owned": ["/etc/infra", "/var/log/infra"]}
    put(keeper.settings_file, json.dumps(KEEPER | owned))
    member = Stack.load("infra-snap")
    put(member.settings_file, json.dumps({"user": "infra", "data": "/var/lib/copies/snap"}))
    put(member.settings_file.parent.with_name("infra-console") / "stack.json", '{"user": "infra"}')
    copies = member.at("/var/lib/copies/snap")
    copies.mkdir(parents=True)
    asked = {"gone": ["infra-snap", "infra-console"]}

    def listed(name: str, **more: Any) -> tuple[set[str], set[str]]:
        answer = main.perform("uninstall-list", name, {**asked, **more})
        told = [
            {str(item.get("path") or item.get("user")).removeprefix(str(keeper.at("/")) + "/")
             for item in answer[part]} for part in ("remove", "keep")
        ]  # fmt: skip
        return told[0], told[1]

    data = {"var/lib/infra", "etc/infra", "infra"}
    gone, stays = listed(FILES)
    assert data | {"var/log/infra"} <= gone and not data & stays
    gone, stays = listed(FILES, keep_data=True)
    assert data <= stays and not data & gone
    assert "var/log/infra" in gone
    # What a member has in its own directory are copies for rehearsals.
    assert "var/lib/copies/snap" in listed("infra-snap", keep_data=True)[0]


def test_what_should_be_gone_and_is_not_stops_it(keeper: Stack) -> None:
    asked = {"gone": ["infra-snap"], "keep_backups": False}
    listed = main.perform("uninstall-list", "infra-console", asked)
    with pytest.raises(HostError, match="infra-snap should be gone and is not"):
        main.perform("uninstall", "infra-console", {**asked, "expect": listed["sha256"]})
