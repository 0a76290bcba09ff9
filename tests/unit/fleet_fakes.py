"""A server and its nodes as a fake session: releases, heartbeats, and failures on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from stackpin.config.load import load
from stackpin.config.stacks import STACKS, stack
from stackpin.config.xingrin import XingrinServer, XingrinWorker
from stackpin.engine.connect import ConnectProblem
from stackpin.engine.remote import RemoteGate
from stackpin.engine.session import Mapped
from stackpin.rollout.model import Request, Roll, Run
from stackpin.rollout.progress import Silent

OLD, NEW = "v1.1.0-00000000", "v1.2.0-11111111"
DATA = {
    "xingrin_version": "v1.2.0",
    "xingrin_public_host": "10.0.0.2",
    "xingrin_lock_file": "inventories/x.lock.toml",
}
SERVER, WORKER = "xingrin-server", "xingrin-worker"


class FakeFleet:
    """`serving` maps a host to its live release; a switched node beats unless it is `mute`."""

    def __init__(self, nodes: int = 6, *, away: tuple[str, ...] = ()) -> None:
        names = [f"node{number}" for number in range(1, nodes + 1)]
        self.every = ["server", *names]
        self.hosts = tuple(name for name in self.every if name not in away)
        self.aside: frozenset[str] = frozenset()
        self.problems = {
            name: ConnectProblem(name, "unreachable", f"{name}: no SSH connection") for name in away
        }
        self.serving: dict[str, str | None] = dict.fromkeys(self.every, OLD)
        self.wanted: dict[str, str] = {}
        self.mute: set[str] = set()
        self.calls: list[tuple[str, str]] = []
        self.runs: list[tuple[str, str, str]] = []
        self.fail: dict[tuple[str, str], Exception] = {}
        self.now = 1000.0
        self.guard = 20.0

    def groups(self, host: str) -> tuple[str, ...]:
        return ("xingrin",) if host == "server" else ("workers",)

    def call(self, host: str, command: str, part: str, payload: Any = None, **_: Any) -> Any:
        self.calls.append((host, command))
        error = self.fail.get((host, command))
        if error:
            raise error
        answer = getattr(self, f"on_{command.replace('-', '_')}", None)
        return answer(host, payload or {}) if answer else {"token": "t", "seconds": self.guard}

    def on_begin(self, host: str, payload: dict[str, Any]) -> dict[str, Any]:
        self.runs.append((host, payload["run"], payload["release"]))
        self.wanted[host] = payload["release"]
        return {"first": self.serving[host] is None}

    def on_confirm(self, host: str, _payload: Any) -> dict[str, Any]:
        self.serving[host] = self.wanted[host]
        return {}

    def on_abort(self, host: str, _payload: Any) -> dict[str, Any]:
        return {"stage": "reverted", "serving": self.serving[host], "proven": True}

    def on_state(self, host: str, _payload: Any) -> dict[str, Any]:
        return {"installed": True, "live_release": self.serving[host]}

    def on_worker(self, host: str, _payload: Any) -> dict[str, Any]:
        return {"id": int(host.removeprefix("node")), "known": None}

    def on_fleet(self, _host: str, _payload: Any) -> dict[str, Any]:
        self.now += 5
        server = self.wanted.get("server") or self.serving["server"] or ""
        rows = [
            {
                "id": int(name.removeprefix("node")),
                "name": name,
                "api_status": "online",
                "row_status": "online",
                "beat": None if name in self.mute else {"updated": self.now - 1, "age": 1.0},
            }
            for name in self.every
            if name != "server"
        ]
        return {"now": self.now, "version": server.partition("-")[0], "workers": rows}

    def map(self, function: Callable[[str], Any], hosts: Any = None) -> Mapped[Any]:
        result: Mapped[Any] = Mapped()
        for host in self.hosts if hosts is None else hosts:
            try:
                result.values[host] = function(host)
            except Exception as error:
                result.errors[host] = error
        return result

    @contextmanager
    def fresh(self, host: str) -> Iterator[Any]:
        fleet = self

        class Remote:
            def call(self, command: str, part: str, payload: Any = None, **_: Any) -> Any:
                return fleet.call(host, command, part, payload)

        yield Remote()

    def reconnect(self, host: str) -> None:
        self.calls.append((host, "reconnect"))

    def of(self, host: str) -> list[str]:
        return [command for name, command in self.calls if name == host]


def settings_of(host: str) -> dict[str, Any]:
    """Return the settings of a host by part, as its group gives it."""
    if host == "server":
        return {SERVER: load(XingrinServer, "xingrin_", DATA, host)}
    return {WORKER: load(XingrinWorker, "xingrin_", DATA, host)}


def fleet_run(fleet: FakeFleet, *, name: str = "xingrin", **options: Any) -> Run:
    """Return a run over the fleet, planned: from what serves to NEW, in batches of 1, then 50%."""
    options = {"batches": ("1", "50%"), "command": "update", **options}
    command = options.pop("command")
    run = Run(Request(command, "inventories/x", stack(name), **options), Silent(), lambda _: None)
    run.opened = fleet  # type: ignore[assignment]
    names = {part.name for part in stack(name).components()}
    for part in names & set(STACKS):
        assert part  # the registry knows every part
    for host in fleet.every:
        for part, one in settings_of(host).items():
            if part in names:
                run.settings.setdefault(host, {})[part] = one
    for host in fleet.hosts:
        for part in run.settings.get(host, {}):
            now = fleet.serving[host]
            run.rolls.append(
                Roll(host, part, now, NEW, outcome="pending" if now != NEW else "in-sync")
            )
    return run


def sick(host: str) -> RemoteGate:
    """Return the error of a gate that does not pass."""
    return RemoteGate(host, "sick")
