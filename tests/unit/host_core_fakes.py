"""A host made of a directory and a pretended systemd, which can die at any step."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stackpin.host import journal, main, pointer, runs, slots, timer, waiting
from stackpin.host.stack import Stack
from stackpin.host.system import Result

UNIT = "[Service]\nExecStart=/opt/crm/slots/%i/server\n"
PORTS = {"blue": 18190, "green": 18191, "rehearsal": 18192}
SHARED = {"blue": 9090, "green": 9090, "rehearsal": 18290}
ZERO = {"settle": 0, "min_healthy": 0, "interval": 0, "consecutive": 1, "timeout": 0}


class Killed(BaseException):
    """The program is gone: nothing it would do in a handler happens either."""


@dataclass(frozen=True)
class Moment:
    """A host between two steps: a copy of its files, and what systemd knew."""

    files: Path
    active: frozenset[str]
    timers: tuple[tuple[str, str], ...]


class Host:
    """The pretended host. `die_at`: how many steps a program may do before it is killed."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.active: set[str] = set()
        self.timers: dict[str, str] = {}
        self.sick: set[str] = set()
        self.steps = 0
        self.die_at: int | None = None
        self.film: list[Moment] | None = None
        self.life = "boot-1"
        self.program = 100
        self.ahead = 0.0
        self.ports = PORTS
        self.foreign: set[int] = set()  # ports somebody else's program has
        patch.setenv("STACKPIN_ROOT", str(root))
        patch.setattr("sys.argv", ["/run/stackpin/host-test.pyz"])
        for place in (
            "units.run",
            "slots.run",
            "timer.run_program",
            "rehearsal.run_program",
            "rehearsal_unit.run_program",
        ):
            patch.setattr(f"stackpin.host.{place}", self.run)
        patch.setattr(slots, "port_open", self.taken)
        patch.setattr(slots, "FREE_WAIT", 0.0)
        patch.setattr(waiting, "run_checks", self.check)
        patch.setattr(runs, "process_mark", self.mark)
        patch.setattr("stackpin.host.stages.os.getpid", lambda: self.program)
        for place in ("runs", "timer", "guard", "stages", "lock"):
            if hasattr(__import__(f"stackpin.host.{place}", fromlist=["x"]), "boot_id"):
                patch.setattr(f"stackpin.host.{place}.boot_id", lambda: self.life)
        for place in ("runs", "timer", "guard", "stages_live", "lock"):
            patch.setattr(f"stackpin.host.{place}.running_seconds", lambda: 1000.0 + self.ahead)
        for owner, name in (
            (os, "fsync"),
            (Path, "rename"),
            (Path, "unlink"),
            (Path, "symlink_to"),
        ):
            patch.setattr(owner, name, self.stepped(getattr(owner, name)))

    def stepped(self, real: Any) -> Any:
        def instead(*args: Any, **more: Any) -> Any:
            self.step()
            return None if real.__name__ == "fsync" else real(*args, **more)

        return instead

    def step(self) -> None:
        if self.film is not None:
            self.film.append(self.moment(f"{self.root}-{len(self.film)}"))
        self.steps += 1
        if self.die_at is not None and self.steps >= self.die_at:
            raise Killed

    def taken(self, port: int) -> bool:
        held = {number for slot, number in self.ports.items() if slot in self.active}
        return port in held | self.foreign

    def mark(self, pid: object) -> dict[str, object]:
        return {"pid": pid, "pid_start": 1 if pid == self.program else None, "boot": self.life}

    def check(
        self, stack: Stack, checks: Any, *, port: int | None, slot: str | None, **_: Any
    ) -> list[Any]:
        slot = None if port is None else slot
        ok = slot is None or (slot in self.active and slots.linked(stack, slot) not in self.sick)
        shared = {"required": True, "weight": 1.0, "expected": "200", "got": "200 ok"}
        return [{"name": "healthz", "ok": ok, **shared}]

    def run(self, argv: list[str], *_: Any, **__: Any) -> Result:
        words = [word for word in argv if not word.startswith("-")]
        if argv[0] == "systemctl" and argv[1] == "show":
            return Result(0, "\n".join(self.shown(name) for name in words[2:]), "")
        if argv[0] in ("journalctl", "ss") or words[1] == "is-active":
            return Result(0, "", "")
        self.step()
        if argv[0] == "systemd-run":
            self.timers[words[-2] + " " + words[-1]] = words[-1]
        for name in words[2:] if argv[0] == "systemctl" else ():
            slot = name.partition("@")[2].partition(".")[0]
            if words[1] == "start" and not self.taken(self.ports[slot]):
                self.active.add(slot)
            elif words[1] in ("stop", "kill"):
                self.active.discard(slot)
                gone = [k for k, token in self.timers.items() if token[:8] in name]
                for key in gone:
                    del self.timers[key]
        return Result(0, "", "")

    def shown(self, unit: str) -> str:
        slot = unit.partition("@")[2].partition(".")[0]
        state = "active" if slot in self.active else "inactive"
        return f"Id={unit}\nActiveState={state}\nSubState=x\nMainPID=7\nNRestarts=0\nResult=ok\n"

    def call(self, command: str, stack: str = "crm", **payload: Any) -> dict[str, Any]:
        """Perform a command as a program of its own."""
        return main.perform(command, stack, payload)

    def killed_after(self, steps: int, command: str, **payload: Any) -> bool:
        """Perform a command that is killed before its step number `steps`; False if it ended."""
        self.steps, self.die_at = 0, steps
        try:
            self.call(command, **payload)
        except Killed:
            return True
        finally:
            self.die_at = None
            self.program += 1
        return False

    def filmed(self, command: str, **payload: Any) -> list[Moment]:
        """Perform a command; return the moments before each of its steps, and the last one.

        What a program killed there leaves, handlers or not; and all of it for one performance.
        """
        self.film = film = []
        try:
            self.call(command, **payload)
        finally:
            self.film = None
        return [*film, self.moment(f"{self.root}-end")]

    def moment(self, files: str) -> Moment:
        shutil.copytree(self.root, files, symlinks=True)
        return Moment(Path(files), frozenset(self.active), tuple(self.timers.items()))

    def return_to(self, moment: Moment) -> None:
        """Be as at that moment; the program that was at work is gone."""
        shutil.rmtree(self.root)
        shutil.copytree(moment.files, self.root, symlinks=True)
        self.active, self.timers = set(moment.active), dict(moment.timers)
        self.life, self.ahead = "boot-1", 0.0
        self.program += 1

    def restart(self) -> None:
        """Cut the power and start again: no process, no timer, another boot id."""
        self.active.clear()
        self.timers.clear()
        self.life += "x"
        self.program += 1

    def install(self, **more: Any) -> Stack:
        document = {
            "stack": "crm", "user": "root", "opt": "/opt/crm", "data": "/var/lib/crm",
            "ports": PORTS, "database": "/var/lib/crm/data/crm.db", "gate": ZERO,
            "drain_seconds": 0, "start_timeout": 0.0, **more,
        }  # fmt: skip
        self.ports = document["ports"]
        path = self.root / "etc/stackpin/crm/stack.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))
        data = self.root / "var/lib/crm/data"
        data.mkdir(parents=True, exist_ok=True)
        with sqlite3.connect(data / "crm.db") as database:
            database.execute("create table if not exists t (x)")
        return Stack.load("crm")

    def receive(self, release: str) -> str:
        content = f"program of {release}".encode()
        sha256 = hashlib.sha256(content).hexdigest()
        incoming = self.root / "var/lib/stackpin/crm/incoming"
        incoming.mkdir(parents=True, exist_ok=True)
        (incoming / sha256).write_bytes(content)
        about = {"id": release, "version": release, "artifact_sha256": sha256}
        self.call("receive", release=about, env="A=1\n", unit=UNIT)
        return release

    def serving(self) -> str | None:
        """What a visitor gets now: the live slot's release, or its backup's, as nginx would."""
        stack = Stack.load("crm")
        live = slots.live_slot(stack)
        for slot in (live, slots.other(live)):
            if slot in self.active:
                return slots.linked(stack, slot)
        return None

    def guarded(self) -> bool:
        """Whether the host would go back by itself."""
        pending = runs.load_pending(Stack.load("crm"))
        return pending is not None and pending["token"] in self.timers.values()


def outcome(run: str) -> str | None:
    return journal.outcome(journal.read(Stack.load("crm")), run)


__all__ = ["PORTS", "SHARED", "Host", "Killed", "outcome", "pointer", "timer"]
