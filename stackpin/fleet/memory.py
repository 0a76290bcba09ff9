"""What a watch remembers over restarts: a small JSON file, and a lock against a second watch."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from stackpin.errors import Refused
from stackpin.fleet.backoff import Failure
from stackpin.fleet.model import Tally

__all__ = ["Memory", "default_path", "exclusive", "read", "write"]

VERSION = 1


@dataclass
class Memory:
    """Failures by node name, counts of outcomes, and when the last pass ended (Unix seconds).

    `updated` are the nodes the last pass updated: what to, and how they had failed before. A
    restart forgets them.
    """

    failures: dict[str, Failure] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    last_pass: float | None = None
    updated: dict[str, tuple[str, Failure | None]] = field(default_factory=dict)

    def keep(self, names: Iterator[str] | list[str] | tuple[str, ...]) -> None:
        """Forget nodes that are not in `names`: they left the fleet."""
        wanted = set(names)
        for name in set(self.failures) - wanted:
            del self.failures[name]


def default_path(inventory: str, stack: str = "xingrin-worker") -> Path:
    """Name the state file of one inventory and stack.

    In $STATE_DIRECTORY (systemd gives one to a unit), else in the user's state directory.
    """
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local/state")
    folder = Path(given) if given else Path(home) / "stackpin"
    real = Path(inventory).resolve()
    # Two clones may both have an inventories/prod.
    unique = hashlib.sha256(str(real).encode()).hexdigest()[:8]
    return folder / f"watch-{real.stem}-{stack}-{unique}.json"


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Be the only watch on the state file `path` in this block. Raises Refused when one is."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = FileLock(f"{path}.lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise Refused(
            f"{path}: another watch works with this state file; expected one per inventory. "
            "Stop the other one (systemctl stop stackpin-watch), or give this one --state FILE."
        ) from None
    except OSError as error:
        raise Refused(
            f"{path}: {error.strerror or error}; expected a folder to write state to: "
            "give --state FILE"
        ) from error
    try:
        yield
    finally:
        lock.release()


def read(path: Path) -> Memory:
    """Read the state file; an absent one is an empty memory. Raises Refused when it is damaged."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Memory()
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from error
    try:
        return _parse(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error


def write(path: Path, memory: Memory) -> None:
    """Write the state file in one step: a crash leaves the old or the new one. Raises OSError."""
    document = {
        "version": VERSION,
        "failures": {name: one.as_json() for name, one in sorted(memory.failures.items())},
        "updates": memory.tally.updates,
        "leases_lost": memory.tally.leases_lost,
        "last_pass": memory.last_pass,
    }
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def _parse(document: Mapping[str, Any]) -> Memory:
    if document["version"] != VERSION:
        raise ValueError(f"version {document['version']!r}, expected {VERSION}")
    last = document.get("last_pass")
    return Memory(
        {str(k): Failure.from_json(v) for k, v in document["failures"].items()},
        Tally(
            {str(k): int(v) for k, v in document["updates"].items()},
            int(document.get("leases_lost", 0)),
        ),
        None if last is None else float(last),
    )


def _damaged(path: Path, found: str) -> Refused:
    return Refused(
        f"{path}: found {found}, expected the state file of a watch. "
        "Remove it: only waiting times and counts are lost."
    )
