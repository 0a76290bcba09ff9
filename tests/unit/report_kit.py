"""A record of a real run that was rolled back, to make pages from."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from stackpin.care import overview as overview_module
from stackpin.engine.connect import ConnectProblem
from stackpin.engine.session import Mapped
from stackpin.errors import Refused
from stackpin.evidence.record import Record

FIXTURES = Path(__file__).parents[1] / "fixtures"


@cache
def _read(name: str) -> Any:
    return json.loads((FIXTURES / name).read_text())


def documents() -> dict[str, Any]:
    return copy.deepcopy(_read("rolled-back.json")["documents"])


def record(**changes: Any) -> Record:
    about = _read("rolled-back.json")["manifest"]
    names = ("inventory", "stack", "run", "outcome", "who", "git_head", "command", "exit_code")
    values = {
        **{name: about[name] for name in names},
        "version": about["release_version"],
        "created": datetime.fromisoformat(about["created"]),
        "reason": about["reason"],
        "hosts": about["hosts"],
        "documents": documents(),
    }
    return Record(**{**values, **changes})


INVENTORY = """\
web = [(name, {"crm_version": "v1.2.0"}) for name in ("web1", "web2", "web3")]
other = ["monitor"]
"""


class Hosts:
    """A session with hosts that answer as those of the record did; `away` do not answer."""

    def __init__(self, names: Sequence[str], away: Sequence[str]) -> None:
        self.hosts = tuple(name for name in names if name not in away)
        self.problems = {
            name: ConnectProblem(name, "unreachable", f"{name}: no route to host")
            for name in names
            if name in away
        }
        self.found = documents()

    def map(self, function: Callable[[str], Any]) -> Mapped[Any]:
        return Mapped({name: function(name) for name in self.hosts})

    def many(self, host: str, calls: Sequence[tuple[str, str, Any]], **_: Any) -> list[Any]:
        return [self.answer(host, command, part) for command, part, _ in calls]

    def answer(self, host: str, command: str, part: str) -> Any:
        if part == "portal":
            return {"installed": False}
        if command == "verify":
            return self.found["03-api-checks.json"][host]
        seen = self.found["02-remote-inspect.json"][host]
        if command == "inspect":
            odd = {"code": "stray-listener", "message": "port 8000/tcp is open", "expected": ""}
            return {**seen, "findings": [odd] if host == "web2" else []}
        run = {"run": "r1", "command": "deploy", "release": "v1.1.0-ee2c2703", "who": "ann@desk"}
        return {
            "installed": True,
            "live_slot": "blue",
            "live_release": "v1.1.0-ee2c2703" if host == "web1" else "v1.2.0-b3f29e4c",
            "slots": {"blue": {"active": "active", "started": "2026-11-22T03:54:59Z"}},
            "releases": [],
            "lock": None,
            "maintenance": False,
            "machine": seen["machine"],
            "journal": [
                {**run, "event": "begin", "t": "2026-11-22T03:54:15+00:00"},
                {**run, "event": "retired", "t": "2026-11-22T03:54:59+00:00"},
            ],
        }


def overview(
    folder: Path, patch: pytest.MonkeyPatch, away: Sequence[str] = ("web3",)
) -> dict[str, Any]:
    """The overview of three hosts, `away` of them out of reach, with the record as evidence."""
    path = folder / "prod.py"
    path.write_text(INVENTORY)

    @contextmanager
    def session(_path: str, limit: Sequence[str], *_: Any, **__: Any) -> Iterator[Hosts]:
        hosts = Hosts(limit, away)
        if not hosts.hosts:
            raise Refused("\n".join(one.message for one in hosts.problems.values()))
        yield hosts

    patch.setattr(overview_module, "open_session", session)
    return overview_module.overview(str(path), (), {}, folder / "evidence")
