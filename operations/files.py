"""Many small files, directories and links as one operation: one command to look, one to write."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TypeVar

from pyinfra.api.operation import operation
from pyinfra.context import host

from facts.files import Node, Texts, Tree
from operations.entries import Directory, File, Link
from operations.notes import Change, Kind, note
from operations.program import Commands, call

Entry = Directory | File | Link
E = TypeVar("E", Directory | File | Link, File | Link)


@operation()
def tree(stack: str, entries: Sequence[Entry], absent: Sequence[str] = ()) -> Commands:
    """Make each of `entries` so, and make sure that nothing lies at the paths `absent`.

    Parents come before what they hold, in `entries` as on disk. The host program writes each file
    under another name in the same directory and renames it; contents travel on standard input.
    """
    present = host.get_fact(Tree, paths=[e.path for e in entries] + list(absent))
    wrong = unfit(entries, present)
    leftover = [path for path in absent if path in present]
    if not wrong and not leftover:
        host.noop(f"{len(entries)} paths of {stack} are as declared")
        return
    note_entries(wrong, present)
    for path in leftover:
        note(Change(_kind(present[path]), path, _describe(present[path]), None))
    yield call("write", stack, payload(wrong, leftover))


def unfit(entries: Sequence[E], present: dict[str, Node]) -> list[E]:
    """Those of `entries` that are not so, given what lies at their paths."""
    return [entry for entry in entries if not _fits(entry, present.get(entry.path))]


def payload(entries: Sequence[Entry], absent: Sequence[str] = ()) -> dict[str, object]:
    """Build the host program's `write` request for these entries."""
    return {
        "directories": [e.payload() for e in entries if isinstance(e, Directory)],
        "files": [e.payload() for e in entries if isinstance(e, File)],
        "links": [e.payload() for e in entries if isinstance(e, Link)],
        "absent": list(absent),
    }


def note_entries(wrong: Sequence[Entry], present: dict[str, Node]) -> None:
    """Note what changes at each path; texts are fetched only for files whose content differs."""
    stale = [
        entry
        for entry in wrong
        if isinstance(entry, File) and not entry.secret and _other_content(entry, present)
    ]
    existing = [entry.path for entry in stale if entry.path in present]
    texts = host.get_fact(Texts, paths=existing) if existing else {}
    for entry in wrong:
        node = present.get(entry.path)
        secret = isinstance(entry, File) and entry.secret
        diff: list[str] = []
        if isinstance(entry, File) and entry in stale:
            diff = _diff(entry, texts.get(entry.path, ""))
        note(
            Change(
                _kind(entry),
                entry.path,
                _describe(node) if node else None,
                _wanted(entry, node),
                diff,
                secret,
            )
        )


def _fits(entry: Entry, node: Node | None) -> bool:
    if node is None:
        return False
    if isinstance(entry, Link):
        return node.kind == "link" and node.target == entry.target
    owned = (node.mode, node.user, node.group) == (
        entry.mode.lstrip("0") or "0",
        entry.user,
        entry.group,
    )
    if isinstance(entry, Directory):
        return node.kind == "directory" and owned
    return node.kind == "file" and owned and node.sha256 == entry.sha256


def _other_content(entry: File, present: dict[str, Node]) -> bool:
    node = present.get(entry.path)
    return node is None or node.sha256 != entry.sha256


def _kind(thing: Entry | Node) -> Kind:
    if isinstance(thing, Directory) or (isinstance(thing, Node) and thing.kind == "directory"):
        return "directory"
    if isinstance(thing, Link) or (isinstance(thing, Node) and thing.kind == "link"):
        return "link"
    return "file"


def _describe(node: Node) -> str:
    if node.kind == "link":
        return f"-> {node.target}"
    text = f"{int(node.mode, 8):04o} {node.user}:{node.group}"
    return text if node.kind in ("file", "directory") else f"{node.kind} {text}"


def _wanted(entry: Entry, node: Node | None) -> str:
    if isinstance(entry, Link):
        return f"-> {entry.target}"
    text = f"{int(entry.mode, 8):04o} {entry.user}:{entry.group}"
    if isinstance(entry, File) and (node is None or node.sha256 != entry.sha256):
        text += " (content changes)" if node else " (new content)"
    return text


def _diff(entry: File, before: str) -> list[str]:
    return [
        line.rstrip("\n")
        for line in difflib.unified_diff(
            before.splitlines(),
            entry.content.splitlines(),
            fromfile=f"{entry.path} (host)",
            tofile=f"{entry.path} (declared)",
            lineterm="",
        )
    ]
