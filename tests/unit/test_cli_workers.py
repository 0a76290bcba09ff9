"""`stackpin workers` against hosts played by a dictionary."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import gevent.monkey
import pytest
from click.testing import CliRunner, Result
from xingrin_kit import DATA, images, server

from stackpin import lockfile
from stackpin.cli import main
from stackpin.config.stacks import STACKS
from stackpin.engine.connect import ConnectProblem
from stackpin.engine.remote import Ran, RemoteRefused
from stackpin.engine.session import Mapped
from stackpin.errors import Refused
from stackpin.fleet import hosts as module
from stackpin.fleet import redis_lease, rollouts
from stackpin.fleet.model import Outcome
from stackpin.rollout.model import Request, Roll, Run
from stackpin.rollout.progress import Silent

DIGEST = {"v1.2.0": "sha256:" + "a" * 64, "v1.1.0": "sha256:" + "b" * 64}
SERVER, WORKER = "xingrin-server", "xingrin-worker"


def state(version: str | None, **values: Any) -> dict[str, Any]:
    if version is None:
        return {"installed": False, "lock": None, **values}
    return {
        "installed": True, "live_slot": "blue", "live_release": f"{version}-0123abcd",
        "slots": {"blue": {"active": "active", "digest": DIGEST[version]}}, "lock": None, **values,
    }  # fmt: skip


@dataclass
class World:
    """A server, nodes, and what was done to them."""

    nodes: dict[str, str | None]
    down: set[str] = field(default_factory=set)
    server: str | None = "v1.2.0"
    silent: bool = False
    ids: dict[str, int] = field(default_factory=dict)
    calls: list[tuple[str, str, str, dict[str, Any]]] = field(default_factory=list)
    rolled: list[tuple[str, ...]] = field(default_factory=list)
    outcome: str = "updated"
    also_server: set[str] = field(default_factory=set)
    data: dict[str, Any] = field(default_factory=dict)
    opened: int = 0
    taken: set[int] = field(default_factory=set)  # numbers whose Redis lease is somebody else's
    server_release: str = "v1.1.0-0"
    meanwhile: Callable[[], None] = lambda: None  # while nodes are rolled out

    def __post_init__(self) -> None:
        self.ids = self.ids or {name: 2 + i for i, name in enumerate(self.nodes)}

    def answer(self, host: str, command: str, stack: str, payload: Any) -> dict[str, Any]:
        self.calls.append((host, command, stack, dict(payload or {})))
        if command == "state":
            if stack == SERVER:
                own = self.server if host == "server" or host in self.also_server else None
                return state(own)
            return state(self.nodes[host])
        if command == "fleet":
            if self.silent:
                raise RemoteRefused(host, "the API does not answer")
            beat = {"updated": 1.0, "age": 2.0, "cpu": 5.0, "mem": 7.0}
            rows = [
                {"id": n, "name": name, "address": "", "local": False, "beat": beat}
                for name, n in self.ids.items()
            ]
            return {"version": self.server, "workers": rows}
        if command == "uninstall-list":
            remove = [{"path": "/opt/xingrin-worker", "why": "releases"}]
            return {"remove": remove, "keep": [{"path": "decoy", "why": "x"}], "sha256": "s"}
        if command == "redis-lease":
            return {"held": int(payload["key"].partition(":")[2]) not in self.taken}
        return {"held": True}

    def commands(self) -> list[tuple[str, str]]:
        quiet = {"state", "fleet"}
        return [(host, command) for host, command, _, _ in self.calls if command not in quiet]


class Session:
    def __init__(self, world: World) -> None:
        self.world, self.inventory = world, "inventories/prod"
        self.names = ["server", *world.nodes]
        members = [SimpleNamespace(name=name) for name in self.names]
        groups = {"xingrin": members[:1], "workers": members[1:]}
        self.state = SimpleNamespace(inventory=Inventory(members, groups))
        self.problems = {
            name: ConnectProblem(name, "x", f"{name}: no SSH") for name in sorted(world.down)
        }

    def groups(self, host: str) -> tuple[str, ...]:
        return ("xingrin",) if host == "server" else ("workers",)

    def data(self, host: str) -> dict[str, Any]:
        return {**DATA, **self.world.data}

    def connected(self, host: str) -> bool:
        return host not in self.world.down

    def pyinfra_host(self, host: str) -> Any:
        return SimpleNamespace(connector=SimpleNamespace(client=None))

    def reconnect(self, host: str) -> None:
        if host in self.world.down:
            raise RemoteRefused(host, "no SSH")

    def call(self, host: str, command: str, stack: str = "-", payload: Any = None, **_: Any) -> Any:
        return self.world.answer(host, command, stack, payload)

    def many(self, host: str, calls: Any, **_: Any) -> list[Any]:
        return [self.call(host, *call) for call in calls]

    def run(self, host: str, *_: Any, **__: Any) -> Ran:
        return Ran(0, b"", "")

    def hold(self, *_: Any) -> None: ...

    def map(self, function: Any, hosts: Any = None) -> Mapped[Any]:
        mapped: Mapped[Any] = Mapped()
        for host in self.names if hosts is None else hosts:
            try:
                mapped.values[host] = function(host)
            except Exception as error:
                mapped.errors[host] = error
        return mapped


class Inventory(list[Any]):
    def __init__(self, members: list[Any], groups: dict[str, list[Any]]) -> None:
        super().__init__(members)
        self.groups = groups


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setattr(gevent.monkey, "patch_all", lambda **_: True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    path = tmp_path / "inventories/x.lock.toml"
    path.parent.mkdir()
    refs = {ref.partition("@")[0]: DIGEST["v1.2.0"] for ref in images(server()).values()}
    lockfile.write(path, lockfile.read(path).with_version("xingrin", "v1.2.0", refs))

    def make(nodes: dict[str, str | None], **values: Any) -> World:
        world = World(nodes, **values)

        @contextmanager
        def opened(*_: Any, **__: Any) -> Iterator[Session]:
            world.opened += 1
            yield Session(world)

        def run(_self: Any, hosts: Any) -> dict[str, Outcome]:
            world.rolled.append(tuple(hosts))
            if world.outcome == "updated":
                world.nodes.update(dict.fromkeys(hosts, "v1.2.0"))
            return dict.fromkeys(hosts, Outcome(world.outcome, "" if not world.rolled else "why"))

        def conduct(_out: Any, target: Any, _asked: Any, _perform: Any, judge: Any) -> int:
            world.rolled.append(target.limit)
            run = Run(Request("add", "inventories/prod", STACKS["xingrin"]), Silent(), judge)
            run.rolls = [Roll("server", SERVER, "v1.1.0-0", world.server_release)]
            judge(run)
            world.meanwhile()
            return 0

        monkeypatch.setattr(module, "open_session", opened)
        monkeypatch.setattr(rollouts.Rollouts, "run", run)
        monkeypatch.setattr("stackpin.cli.workers.conduct", conduct)
        return world

    return make


def stackpin(*words: str) -> Result:
    return CliRunner().invoke(main, ("workers", words[0], "inventories/prod", *words[1:]))


MIXED: dict[str, str | None] = {"node1": "v1.2.0", "node2": "v1.1.0", "node3": None, "node4": None}


def test_list_shows_what_really_runs(play):
    world = play(dict(MIXED), down={"node4"})
    world.ids = {"node1": 2, "node2": 3, "stray": 9}
    result = stackpin("list", "--json")
    assert result.exit_code == 0, result.output
    found = {one["name"]: one for one in json.loads(result.stdout)["workers"]}
    assert {name: one["state"] for name, one in found.items()} == {
        "node1": "online", "node2": "outdated", "node3": "pending", "node4": "offline",
        "stray": "outdated",
    }  # fmt: skip
    assert found["node2"]["id"] == 3
    assert "v1.2.0 is pinned" in found["node2"]["reason"]
    text = stackpin("list").output
    assert "runs v1.1.0, v1.2.0 is pinned" in text


def test_list_without_the_server_says_so(play):
    play({"node1": "v1.2.0"}, silent=True)
    result = stackpin("list")
    assert result.exit_code == 1
    assert "the API does not answer" in result.output
    assert "offline" in result.output


def test_reconcile_touches_only_what_differs(play):
    world = play(dict(MIXED), down={"node4"})
    result = stackpin("reconcile", "--yes")
    # node3 is new: the server has to let it in.
    assert world.rolled == [("server", "node2", "node3")]
    assert result.exit_code == 2
    assert "node4: no SSH; its agent still beats (2 s ago); left alone: cannot" in result.output


def test_reconcile_with_nothing_to_do(play):
    world = play({"node1": "v1.2.0"})
    result = stackpin("reconcile")
    assert (result.exit_code, world.rolled) == (0, [])
    assert "no node differs" in result.output


def test_reconcile_is_refused_while_the_server_is_on_another_version(play):
    world = play({"node1": "v1.1.0"}, server="v1.1.0")
    result = stackpin("reconcile", "--yes")
    assert (result.exit_code, world.rolled) == (3, [])
    assert "update it first" in result.output


def test_add_wants_a_node_of_the_inventory(play, monkeypatch):
    world = play(dict(MIXED))
    inventory = Session(world).state.inventory
    monkeypatch.setattr("stackpin.engine.state.load_inventory", lambda *_: inventory)
    assert stackpin("add", "node3", "--yes").exit_code == 0
    assert world.rolled == [("server", "node3")]
    result = stackpin("add", "server", "--yes")
    assert result.exit_code == 3
    assert "no host 'server' in the group 'workers'" in result.output
    world.server_release = "v1.2.0-1"
    result = stackpin("add", "node3", "--yes")
    assert result.exit_code == 3
    assert "would be switched to v1.2.0-1" in result.output
    assert "stackpin deploy inventories/prod xingrin-server" in " ".join(result.output.split())


def test_reconcile_tells_of_a_lease_that_somebody_else_took_over(play, monkeypatch):
    world = play({"node1": "v1.1.0"}, data={"xingrin_lock_backend": "redis"})
    monkeypatch.setattr(redis_lease, "TTL", 0.3)
    world.meanwhile = lambda: (world.taken.add(2), gevent.sleep(0.3))
    result = stackpin("reconcile", "--yes")
    assert result.exit_code == 2
    assert "agent_update_lock:2 was taken over by somebody else, who works on" in result.output
    assert "node1: its lease was lost meanwhile" in result.output


def test_watch_once_updates_a_batch_and_tells_each_pass_as_a_line(play, tmp_path):
    world = play({"node1": "v1.2.0", "node2": "v1.1.0", "node3": "v1.1.0"})
    file = tmp_path / "x.prom"
    result = stackpin("watch", "--once", "--json", "--metrics-file", str(file))
    assert world.rolled == [("node2",)]
    assert result.exit_code == 2
    (line,) = result.stdout.splitlines()
    document = json.loads(line)
    assert document["nodes"]["node2"]["outcome"] == "updated"
    assert document["states"]["outdated"] == 2
    assert 'stackpin_watch_updates_total{inventory="prod",outcome="updated"} 1.0' in (
        file.read_text()
    )
    assert stackpin("watch", "--once").exit_code == 0


def test_watch_backs_off_over_restarts(play):
    world = play({"node1": "v1.1.0"}, outcome="rolled-back")
    assert stackpin("watch", "--once").exit_code == 4
    assert stackpin("watch", "--once").exit_code == 2
    assert world.rolled == [("node1",)]


def test_watch_takes_the_lease_in_redis_where_that_is_set(play):
    world = play({"node1": "v1.1.0"}, data={"xingrin_lock_backend": "redis"})
    stackpin("watch", "--once")
    leases = [call[3] for call in world.calls if call[1] == "redis-lease"]
    assert [one["action"] for one in leases] == ["take", "release"]
    assert {one["key"] for one in leases} == {"agent_update_lock:2"}
    assert len({one["token"] for one in leases}) == 1


def test_watch_refuses_what_is_wrong_from_the_start(play):
    play({"node1": "v1.1.0"}, data={"xingrin_version": "v1.3.0"})
    result = stackpin("watch")
    assert result.exit_code == 3
    assert "stackpin pin" in result.output
    assert stackpin("watch", "--metrics", "nonsense").exit_code == 3


def test_a_second_watch_is_refused(play, tmp_path):
    play({"node1": "v1.2.0"})
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        from stackpin.fleet.memory import exclusive

        with exclusive(tmp_path / "one.json"):
            entered.set()
            leave.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait(20)
    try:
        result = stackpin("watch", "--once", "--state", str(tmp_path / "one.json"))
    finally:
        leave.set()
        thread.join()
    assert result.exit_code == 3
    assert "another watch" in result.output


def test_remove_lists_forgets_and_uninstalls_in_that_order(play):
    world = play({"node1": "v1.2.0", "node2": "v1.2.0"})
    assert stackpin("remove", "node2").exit_code == 3
    assert ("node2", "uninstall") not in world.commands()
    result = stackpin("remove", "node2", "--yes")
    assert result.exit_code == 0, result.output
    assert "forget worker 3" in result.output
    assert "keep   decoy" in result.output
    done = [entry for entry in world.commands() if entry[1] in {"unregister", "uninstall"}]
    assert done == [("server", "unregister"), ("node2", "uninstall")]
    (uninstall,) = [call[3] for call in world.calls if call[1] == "uninstall"]
    assert uninstall["expect"] == "s"


@pytest.mark.parametrize(
    ("host", "values", "message"),
    [
        ("server", {}, "also carries xingrin-server"),
        ("node1", {"also_server": {"node1"}}, "found xingrin-server installed"),
        ("node9", {}, "found no node 'node9'"),
        ("node1", {"down": {"node1"}}, "--gone"),
        ("node1", {"silent": True}, "which worker it is"),
    ],
)
def test_remove_refuses(play, host, values, message):
    world = play({"node1": "v1.2.0"}, **values)
    result = stackpin("remove", host, "--yes")
    assert result.exit_code == 3, result.output
    assert message in result.output
    assert world.commands() == []


def test_remove_of_a_lost_host_only_forgets_it(play):
    world = play({"node1": "v1.2.0", "node2": "v1.2.0"}, down={"node2"})
    result = stackpin("remove", "node2", "--gone", "--yes")
    assert result.exit_code == 0, result.output
    assert world.commands() == [("server", "unregister")]
    refused = stackpin("remove", "node1", "--gone", "--yes")
    assert refused.exit_code == 3
    assert "alive" in refused.output


def test_sessions_stay_open_until_the_inventory_changes(play, tmp_path):
    world = play({"node1": "v1.2.0"})
    (tmp_path / "inventories/prod.py").write_text("x = 1\n")
    with module.HostFleet("inventories/prod.py") as fleet:
        fleet.observe()
        fleet.observe()
        assert world.opened == 1
        (tmp_path / "inventories/prod.py").write_text("x = 11\n")
        fleet.observe()
        assert world.opened == 2
        world.down.add("node1")
        assert fleet.observe().nodes[0].reachable is False
        world.down.clear()
        assert fleet.observe().nodes[0].reachable is True
        assert world.opened == 2


def test_an_inventory_without_a_server_is_refused(play, monkeypatch):
    play({"node1": "v1.2.0"})
    monkeypatch.setattr(Session, "groups", lambda _self, _host: ("workers",))
    with module.HostFleet("inventories/prod.py") as fleet, pytest.raises(Refused, match="xingrin"):
        fleet.observe()
