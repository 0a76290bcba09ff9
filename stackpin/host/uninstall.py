"""Take a stack off a host: first the exact list, then exactly that list."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stackpin.host import (
    members,
    nginx,
    pointer,
    postgres,
    runs,
    system,
    uninstall_account,
    uninstall_docker,
    uninstall_firewall,
    units,
)
from stackpin.host.backup import backup
from stackpin.host.errors import HostError, refused
from stackpin.host.progress import say
from stackpin.host.restic import Repository
from stackpin.host.stack import SLOTS, Stack
from stackpin.host.uninstall_paths import around, in_volume, removable

__all__ = ["COMMANDS"]

PROGRAM = "/usr/local/lib/stackpin"
BOOT_UNIT = "/etc/systemd/system/stackpin-boot@.service"
Item = dict[str, str]


@dataclass(frozen=True)
class Asked:
    """What of a stack is to stay, and which stacks are removed before it."""

    keep_backups: bool
    keep_data: bool
    gone: frozenset[str]

    @classmethod
    def of(cls, payload: dict[str, Any]) -> Asked:
        """Read a command's payload."""
        return cls(
            bool(payload.get("keep_backups", True)),
            bool(payload.get("keep_data", False)),
            frozenset(payload.get("gone") or ()),
        )


def uninstall_list(stack: Stack, payload: dict[str, Any]) -> dict[str, Any]:
    """List what an uninstall would remove and what it would leave.

    payload: {keep_backups: bool, default true; keep_data: bool, default false; gone: [stack]}.
    `gone` are stacks that are removed before this one in the same go: they count as not there.
    Returns {remove: [{path|unit|user|container|image|table, why}], keep: [{path|user, why}],
    sha256}; sha256 is what `uninstall` wants as `expect`. A directory that holds something kept is
    listed entry by entry.
    """
    asked = Asked.of(payload)
    keep = _keep(stack, asked)
    remove = _units(stack)
    kept = [Path(item["path"]) for item in keep if item.get("path", "").startswith("/")]
    for path, why in _paths(stack, asked):
        remove += [{"path": str(part), "why": why} for part in around(path, kept)]
    accounts = uninstall_account.listed(stack, _others(stack, asked))
    if asked.keep_data and _data_stays(stack, asked):
        keep += [{**item, "why": "owns the data that stays"} for item in accounts]
    else:
        remove += accounts
    text = json.dumps([remove, keep, asked.keep_backups], sort_keys=True)
    return {"remove": remove, "keep": keep, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def uninstall(stack: Stack, payload: dict[str, Any]) -> dict[str, Any]:
    """Remove exactly what was listed; what cannot be removed is told and the rest goes on.

    payload: {keep_backups, keep_data, gone, expect: sha256 of the list, who}. A last backup is made
    first when backups are kept and the stack has a database. Returns {removed: [item], kept:
    [item], final_backup: id or null}. Raises HostError(refused): the list is another one now, a run
    is open, one of `gone` is there, or members need it; HostError(error) with detail {left:
    [{path|unit|user, problem}]}.
    """
    listed = uninstall_list(stack, payload)
    if payload.get("expect") != listed["sha256"]:
        raise refused(
            f"uninstall of {stack.name}: the list is not the one that was shown; look again and "
            "pass its sha256 as `expect`",
            sha256=listed["sha256"],
        )
    if stack.installed and not runs.ended(runs.load(stack)):
        raise refused(f"uninstall of {stack.name}: a run is open; finish or abort it first")
    there = [name for name in Asked.of(payload).gone if Stack.load(name).installed]
    if there:
        raise refused(
            f"uninstall of {stack.name}: {', '.join(there)} should be gone and is not; look why, "
            "then run uninstall again"
        )
    left_behind = [member.name for member in members.installed(stack)]
    if left_behind:
        raise refused(
            f"uninstall of {stack.name}: {', '.join(left_behind)} need its data and files; "
            "uninstall them first"
        )
    final = _last_backup(stack, payload)
    removed: list[Item] = []
    left: list[Item] = []
    web = False
    for item in listed["remove"]:
        say(f"removing {item.get('path') or next(iter(item.values()))}")
        try:
            _remove(item)
        except (HostError, OSError) as problem:
            left.append({**item, "problem": str(problem)})
            continue
        removed.append(item)
        web = web or item.get("path", "").startswith(nginx.HOME + "/")
    _tell_the_others(stack, web)
    if left:
        raise HostError(
            "error",
            f"uninstall of {stack.name}: {len(left)} of {len(listed['remove'])} could not be "
            f"removed, first: {left[0]['problem']}; remove it by hand and run uninstall again",
            {"left": left, "removed": removed},
        )
    return {"removed": removed, "kept": listed["keep"], "final_backup": final}


def _units(stack: Stack) -> list[Item]:
    names = [stack.unit(s) for s in (*SLOTS, "rehearsal")] if stack.kind == "slots" else []
    found = [
        {"unit": name, "why": "the stack's process"}
        for name, slot in zip(names, (*SLOTS, "rehearsal"), strict=False)
        if stack.unit_file(slot).exists()
    ]
    boot = f"stackpin-boot@{stack.name}.service"
    if os.path.lexists(stack.at(f"/etc/systemd/system/multi-user.target.wants/{boot}")):
        found.append({"unit": boot, "why": "starts the stack at boot"})
    return [*found, *uninstall_docker.listed(stack), *uninstall_firewall.listed(stack)]


def _paths(stack: Stack, asked: Asked) -> list[tuple[Path, str]]:
    """List our places, settings last: until they are gone, a cut uninstall can be repeated."""
    found: list[tuple[Path, str]] = []
    if stack.installed:
        folder = stack.at("/etc/systemd/system")
        for slot in (*SLOTS, "rehearsal") if stack.kind == "slots" else ():
            found.append((stack.unit_file(slot), "unit of a slot"))
            found.append((folder / f"{stack.unit(slot)}.d", "drop-ins of that unit"))
        for part in ("sites-enabled", "sites-available", "snippets", "conf.d"):
            path = stack.at(f"{nginx.HOME}/{part}/stackpin-{stack.name}.conf")
            found.append((path, "nginx site of the stack"))
        found.append((stack.opt_dir, "releases"))
        found.append((stack.at(stack.data), "data"))
        found += [(stack.at(path), "made for the stack") for path in stack.owned]
        if stack.is_static and stack.static.get("root"):
            found.append((stack.at(stack.static["root"]), "served files"))
    repository = Repository(stack)
    if not asked.keep_backups:
        if repository.local is not None and (repository.local / "config").is_file():
            found.append((repository.local, "backups"))
        found.append((stack.backup_dir, "backups"))
    found.append((stack.state_dir, "journal and state"))
    found.append((stack.settings_dir, "settings and environment"))
    if not _others(stack, asked):
        found.append((stack.at(BOOT_UNIT), "no other stack is left"))
        found.append((stack.at(PROGRAM), "no other stack is left"))
    unique = dict(reversed(found))  # of a path listed twice the first reason stays
    return [
        (path, why)
        for path, why in found
        if os.path.lexists(path) and unique.pop(path, None) is not None and removable(path)
    ]


def _keep(stack: Stack, asked: Asked) -> list[Item]:
    found: list[Item] = []
    if stack.postgres.get("service"):
        # The volume stays, and opens with the password of its first start only.
        why = "opens the database, whose volume stays"
        paths = [str(path) for path in map(stack.at, stack.env_files) if path.is_file()]
        found += [{"path": path, "why": why} for path in paths]
    if stack.repo_root and stack.at(stack.repo_root).exists():
        path = str(stack.at(stack.repo_root))
        found.append({"path": path, "why": "the publish repository is yours"})
    data = stack.at(stack.data)
    if stack.installed and _data_stays(stack, asked):
        why = "data in a volume of docker" if in_volume(data) else "data, as asked"
        found.append({"path": str(data), "why": why})
        # What backups hold belongs to the data: secrets and certificates made on this host.
        held = set(stack.backup.get("paths") or ()).intersection(stack.owned)
        found += [{"path": str(stack.at(path)), "why": "goes with the data"} for path in held]
    repository = Repository(stack)
    if not asked.keep_backups:
        if repository.local is None:
            found.append({"path": repository.location, "why": "remote backups are never deleted"})
        return found
    made = repository.local is None or (repository.local / "config").is_file()
    if made and (repository.local is None or stack.installed or repository.local.is_dir()):
        found.append({"path": repository.location, "why": "backups"})
    if repository.password_file.is_file():
        found.append({"path": str(repository.password_file), "why": "opens the backups"})
    return found


def _data_stays(stack: Stack, asked: Asked) -> bool:
    """Tell whether data stays: as asked, or in a volume. Without it, nothing but copies is here."""
    data = stack.at(stack.data)
    wanted = asked.keep_data and not members.has_keeper(stack)
    return (wanted or in_volume(data)) and data.exists()


def _others(stack: Stack, asked: Asked) -> list[str]:
    """Name the other stacks of this host; one whose settings are damaged is there all the same."""
    found = stack.settings_dir.parent.glob("*/stack.json")
    return sorted({path.parent.name for path in found} - {stack.name, *asked.gone})


def _last_backup(stack: Stack, payload: dict[str, Any]) -> str | None:
    if not payload.get("keep_backups", True) or not stack.installed:
        return None
    if not (_has_database_file(stack) or _has_postgres(stack)) or members.has_keeper(stack):
        return None
    made = backup(stack, {"reason": "before uninstall", "who": payload.get("who")})
    return str(made["id"])


def _has_database_file(stack: Stack) -> bool:
    return bool(stack.database) and stack.at(str(stack.database)).is_file()


def _has_postgres(stack: Stack) -> bool:
    """Tell whether a database runs that something was deployed with; a stopped one stays whole."""
    if not stack.postgres or pointer.live_release(stack) is None:
        return False
    database = postgres.database_of(stack)
    return database is not None and database.present()


def _remove(item: Item) -> None:
    if "unit" in item:
        system.run(["systemctl", "disable", "--now", item["unit"]], timeout=120.0, check=False)
        stopped = system.run(["systemctl", "is-active", item["unit"]], check=False)
        if stopped.out.strip() in {"active", "deactivating"}:
            raise HostError("error", f"{item['unit']} does not stop")
        return
    if "user" in item:
        system.run(["userdel", item["user"]])
        return
    if uninstall_docker.remove(item) or uninstall_firewall.remove(item):
        return
    path = Path(item["path"])
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _tell_the_others(stack: Stack, web: bool) -> None:
    """Let systemd and nginx see that files are gone; neither can fail the uninstall."""
    with contextlib.suppress(HostError):
        units.reload()
        if stack.kind == "slots":
            names = [stack.unit(slot) for slot in SLOTS]
            system.run(["systemctl", "reset-failed", *names], check=False)
    if web:
        with contextlib.suppress(HostError):
            system.run(["nginx", "-t"])
            system.run(["systemctl", "reload", "nginx"], check=False)


COMMANDS = {"uninstall-list": uninstall_list, "uninstall": uninstall}
