"""Which facts a deploy read last time: a hint, so that all of them can be read at once.

Kept below ~/.cache/stackpin/facts (0700; $XDG_CACHE_HOME where that is set), a file (0600) per
inventory and stack. It names fact classes and their arguments, never shell text, and nothing that
has to do with secrets. An entry too many costs some milliseconds, one too few a second exec.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

from pyinfra.api.facts import FactBase, ShortFactBase
from pyinfra.api.host import Host

from stackpin.engine.gather.memory import Memory
from stackpin.engine.part import current
from stackpin.redact import redact

__all__ = ["Entry", "FactList", "note", "render"]

VERSION = 1
MODULES = ("facts.", "pyinfra.facts.")  # importing is running code: no other module is named
SECRET_NAME = re.compile(r"passw|secret|token|credential|private", re.IGNORECASE)
Entry = dict[str, Any]
"""{"fact": "module:Class", "kwargs": its arguments, "rights": pyinfra's arguments}, all JSON."""


class FactList:
    """The entries of an inventory's hosts by stack part; `load` and `save` never raise."""

    def __init__(self, inventory: str, stack: str) -> None:
        name = sha256(f"{Path(inventory).absolute()}\0{stack}".encode()).hexdigest()[:24]
        self._path = _folder() / f"{name}.json"
        self._hosts: dict[str, dict[str, list[Entry]]] = _read(self._path)
        self._before = json.dumps(self._hosts, sort_keys=True)

    def entries(self, host: str, parts: Sequence[str]) -> list[Entry]:
        """Return what deploys of `parts` read on `host` last time."""
        mine = self._hosts.get(host) or {}
        return [entry for part in parts for entry in mine.get(part) or []]

    def update(self, host: str, used: Mapping[str, Mapping[str, Entry]]) -> None:
        """Take over what this run read on `host`, by part; parts it did not load are kept."""
        found = {part: list(entries.values()) for part, entries in used.items()}
        self._hosts[host] = {**self._hosts.get(host, {}), **found}

    def save(self) -> None:
        """Write the file if anything differs."""
        document = json.dumps(self._hosts, sort_keys=True)
        if document == self._before:
            return
        with suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, draft = tempfile.mkstemp(dir=self._path.parent)
            with os.fdopen(handle, "w") as file:
                json.dump({"version": VERSION, "hosts": self._hosts}, file, sort_keys=True)
            Path(draft).replace(self._path)


def note(
    memory: Memory,
    cls: type[Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    rights: Mapping[str, Any],
) -> None:
    """Add the fact `cls` that was just read to what the current part used, unless it is secret."""
    own = {name: value for name, value in kwargs.items() if not name.startswith("_")}
    if args:
        names = [name for name in inspect.signature(cls.command).parameters if name != "self"]
        own = {**dict(zip(names, args, strict=False)), **own}
    if "_env" in rights or any(SECRET_NAME.search(name) for name in own):
        return
    entry = {
        "fact": f"{cls.__module__}:{cls.__qualname__}",
        "kwargs": own,
        "rights": dict(rights),
    }
    try:
        text = json.dumps(entry, sort_keys=True)
    except TypeError:
        return
    if redact(text) == text:
        memory.used.setdefault(current() or "", {})[text] = entry


def render(host: Host, entries: Sequence[Entry]) -> None:
    """Let pyinfra render the commands of `entries` for `host`, whose memory is offline."""
    for entry in entries:
        # A fact that was renamed, or takes other arguments now, is just not known beforehand.
        with suppress(Exception):
            cls = _fact(str(entry["fact"]))
            if cls is not None:
                host.get_fact(cls, **entry["kwargs"], **entry["rights"])


def _fact(name: str) -> type[Any] | None:
    module, _, attribute = name.partition(":")
    if not module.startswith(MODULES):
        return None
    found = getattr(import_module(module), attribute)
    is_fact = isinstance(found, type) and issubclass(found, FactBase | ShortFactBase)
    return found if is_fact else None


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "stackpin" / "facts"


def _read(path: Path) -> dict[str, dict[str, list[Entry]]]:
    try:
        document = json.loads(path.read_text())
        if document["version"] != VERSION:
            return {}
        return {
            str(host): {str(part): list(entries) for part, entries in parts.items()}
            for host, parts in document["hosts"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
