"""The `write` command: many small files, directories and links at once, each atomically."""

from __future__ import annotations

import base64
import binascii
import grp
import os
import pwd
from pathlib import Path
from typing import Any

from stackpin.host import disk
from stackpin.host.errors import failed, refused
from stackpin.host.mutex import mutex
from stackpin.host.stack import Stack

__all__ = ["COMMANDS", "write"]

Entry = dict[str, Any]


def write(stack: Stack, payload: dict[str, Any]) -> dict[str, Any]:
    """Put paths in the state asked for: write {directories, files, links, absent}, in that order.

    directories: [{path, mode, user, group}]; files: the same with content_b64; links: [{path,
    target}]; absent: [path] (a file, a link or an empty directory). mode is octal text.
    -> {changed: [{path, what}]}, what: created, content, mode, owner, target, removed. All is
    validated before the first change. Raises HostError(refused).
    """
    directories = [_checked(item) for item in payload.get("directories") or []]
    files = [_checked(item) for item in payload.get("files") or []]
    contents = [_content(item) for item in files]
    links = [_link(item) for item in payload.get("links") or []]
    absent = [_path(item) for item in payload.get("absent") or []]
    for path in absent:
        if path.is_dir() and not path.is_symlink() and any(path.iterdir()):
            raise refused(f"{path}: is a directory with content; it is never removed unasked")
    changed: list[dict[str, str]] = []

    def note(path: Path, what: str | None) -> None:
        if what:
            changed.append({"path": str(path), "what": what})

    with mutex(stack):
        try:
            for item in directories:
                note(item["path"], _directory(item))
            for item, data in zip(files, contents, strict=True):
                note(item["path"], _file(item, data))
            for path, target in links:
                note(path, _point(path, target))
            for path in absent:
                note(path, _remove(path))
        except OSError as error:
            raise failed(
                f"{error.filename}: {error.strerror}; {len(changed)} paths were written before",
                changed=changed,
            ) from error
    return {"changed": changed}


def _path(value: object) -> Path:
    text = str(value)
    if not text.startswith("/") or ".." in text.split("/") or text.rstrip("/") == "":
        raise refused(f"path {text!r}: expected an absolute one without ..")
    return Stack.at(text)


def _checked(item: Entry) -> Entry:
    path = _path(item.get("path"))
    try:
        mode = int(str(item.get("mode")), 8)
        uid = pwd.getpwnam(str(item.get("user"))).pw_uid
        gid = grp.getgrnam(str(item.get("group"))).gr_gid
    except ValueError:
        raise refused(f"{path}: mode {item.get('mode')!r}; expected octal like 0644") from None
    except KeyError as error:
        raise refused(f"{path}: {error.args[0]}; create it first") from None
    return {**item, "path": path, "mode": mode, "uid": uid, "gid": gid}


def _content(item: Entry) -> bytes:
    path = item["path"]
    if path.is_dir():
        raise refused(f"{path}: is a directory, expected a file; move it away")
    try:
        return base64.b64decode(str(item.get("content_b64", "")), validate=True)
    except binascii.Error:
        raise refused(f"{path}: content_b64 is not base64") from None


def _link(item: Entry) -> tuple[Path, str]:
    path, target = _path(item.get("path")), str(item.get("target") or "")
    if not target:
        raise refused(f"{path}: a link needs a target")
    if path.exists() and not path.is_symlink():
        raise refused(f"{path}: is no symlink; move it away, it is not replaced unasked")
    return path, target


def _directory(item: Entry) -> str | None:
    path: Path = item["path"]
    if path.exists() and not path.is_dir():
        raise refused(f"{path}: is a file, expected a directory; move it away")
    created = not path.is_dir()
    if created:
        # Closed until it has its owner.
        path.mkdir(mode=0o700, parents=True)
    what = _own(path, item)
    if created:
        disk.sync_dir(path.parent)
    return "created" if created else what


def _file(item: Entry, data: bytes) -> str | None:
    path: Path = item["path"]
    if not path.parent.is_dir():
        raise refused(f"{path}: its directory does not exist; list it under directories")
    if path.is_symlink() or not path.exists() or path.read_bytes() != data:
        what = "content" if path.exists() else "created"
        disk.atomic_write(path, data, item["mode"], (item["uid"], item["gid"]))
        return what
    return _own(path, item)


def _own(path: Path, item: Entry) -> str | None:
    what = None
    found = path.stat()
    if (found.st_uid, found.st_gid) != (item["uid"], item["gid"]):
        os.chown(path, item["uid"], item["gid"])
        what = "owner"
    # After a change of owner too: chown clears set-id bits.
    if path.stat().st_mode & 0o7777 != item["mode"]:
        path.chmod(item["mode"])
        what = what or "mode"
    return what


def _point(path: Path, target: str) -> str | None:
    if path.is_symlink():
        if str(path.readlink()) == target:
            return None
        disk.replace_link(path, target)
        return "target"
    disk.replace_link(path, target)
    return "created"


def _remove(path: Path) -> str | None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
        disk.sync_dir(path.parent)
        return "removed"
    return "removed" if path.parent.is_dir() and disk.remove_file(path) else None


COMMANDS = {"write": write}
