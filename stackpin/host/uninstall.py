"""Take a stack off a host: first the exact list, then exactly that list."""

from __future__ import annotations

import contextlib
import grp
import hashlib
import json
import os
import pwd
import shutil
from pathlib import Path
from typing import Any

from stackpin.host import (
    members,
    nginx,
    pointer,
    postgres,
    runs,
    system,
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


def uninstall_list(stack: Stack, payload: dict[str, Any]) -> dict[str, Any]:
    """List what an uninstall would remove and what it would leave.

    payload: {keep_backups: bool, default true}. Returns {remove: [{path|unit|user|container|image|
    table, why}], keep: [{path, why}], sha256}; sha256 is what `uninstall` wants as `expect`. A
    directory that holds something kept is listed entry by entry.
    """
    keep_backups = bool(payload.get("keep_backups", True))
    keep = _keep(stack, keep_backups)
    remove = _units(stack)
    kept = [Path(item["path"]) for item in keep if item["path"].startswith("/")]
    for path, why in _paths(stack, keep_backups):
        remove += [{"path": str(part), "why": why} for part in around(path, kept)]
    remove += _user(stack)
    text = json.dumps([remove, keep, keep_backups], sort_keys=True)
    return {"remove": remove, "keep": keep, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def uninstall(stack: Stack, payload: dict[str, Any]) -> dict[str, Any]:
    """Remove exactly what was listed; what cannot be removed is told and the rest goes on.

    payload: {keep_backups, expect: sha256 of the list, who}. A last backup is made first when
    backups are kept and the stack has a database. Returns {removed: [item], kept: [item],
    final_backup: id or null}. Raises HostError(refused): the list is another one now, a run is
    open, or members need it; HostError(error) with detail {left: [{path|unit|user, problem}]}.
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


def _paths(stack: Stack, keep_backups: bool) -> list[tuple[Path, str]]:
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
        if stack.is_static and stack.static.get("root"):
            found.append((stack.at(stack.static["root"]), "served files"))
    repository = Repository(stack)
    if not keep_backups:
        if repository.local is not None and (repository.local / "config").is_file():
            found.append((repository.local, "backups"))
        found.append((stack.backup_dir, "backups"))
    found.append((stack.state_dir, "journal and state"))
    found.append((stack.settings_dir, "settings and environment"))
    if not _others(stack):
        found.append((stack.at(BOOT_UNIT), "no other stack is left"))
        found.append((stack.at(PROGRAM), "no other stack is left"))
    unique = dict(reversed(found))  # of a path listed twice the first reason stays
    return [
        (path, why)
        for path, why in found
        if os.path.lexists(path) and unique.pop(path, None) is not None and removable(path)
    ]


def _keep(stack: Stack, keep_backups: bool) -> list[Item]:
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
    if stack.installed and in_volume(data) and data.exists():
        found.append({"path": str(data), "why": "data in a volume of docker"})
    repository = Repository(stack)
    if not keep_backups:
        if repository.local is None:
            found.append({"path": repository.location, "why": "remote backups are never deleted"})
        return found
    made = repository.local is None or (repository.local / "config").is_file()
    if made and (repository.local is None or stack.installed or repository.local.is_dir()):
        found.append({"path": repository.location, "why": "backups"})
    if repository.password_file.is_file():
        found.append({"path": str(repository.password_file), "why": "opens the backups"})
    return found


def _user(stack: Stack) -> list[Item]:
    """List the service's account, if it is plainly one that was made for this stack alone."""
    if not stack.installed or stack.user == "root":
        return []
    try:
        account = pwd.getpwnam(stack.user)
        group = grp.getgrgid(account.pw_gid)
    except KeyError:
        return []
    made_for_it = (
        0 < account.pw_uid < 1000  # 1000 and up are people
        and account.pw_dir == "/nonexistent"
        and Path(account.pw_shell).name in {"nologin", "false"}
        and group.gr_name == stack.user
    )
    others = set(_others(stack)) - set(stack.members)  # those go before
    if not made_for_it or any(_may_use(other, stack.user) for other in others):
        return []
    return [{"user": stack.user, "why": "service account of the stack"}]


def _may_use(other: str, user: str) -> bool:
    try:
        return Stack.load(other).user == user
    except Exception:
        return True  # its settings cannot be read, so it counts as a user of everything


def _others(stack: Stack) -> list[str]:
    """Name the other stacks of this host; one whose settings are damaged is there all the same."""
    found = stack.settings_dir.parent.glob("*/stack.json")
    return sorted(path.parent.name for path in found if path.parent.name != stack.name)


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
