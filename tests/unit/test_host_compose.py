"""The compose driver against a pretended docker: what it asks for, in which order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from facts.compose import ComposeServices
from stackpin.host import compose_state, postgres
from stackpin.host.drivers import compose, docker
from stackpin.host.drivers import compose_services as services
from stackpin.host.errors import HostError
from stackpin.host.stack import Stack
from stackpin.host.system import Result

DIGEST = "@sha256:" + "a" * 64
SETTINGS = {
    "kind": "compose",
    "start_timeout": 1,
    "drain_seconds": 0,
    "compose": {
        "project": "xingrin",
        "slot_service": "server",
        "depend": ["redis"],
        "front": ["agent", "nginx"],
        "reload": {"nginx": ["nginx", "-s", "reload"]},
        "port": 8888,
    },
}
SERVICES = ("server-blue", "server-green", "redis", "agent", "nginx")


class Docker:
    """Containers by service; every call is kept in `calls`, in words."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.found: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.documents: list[str | None] = []
        self.die_at: int | None = None

    def __call__(self, *argv: str, data: str | None = None, **_: Any) -> Result:
        self.calls.append(" ".join(argv))
        if self.die_at is not None and len(self.calls) >= self.die_at:
            raise KeyboardInterrupt
        if argv[0] == "compose":
            self.documents.append(data)
            words = [word for word in argv[1:] if not word.startswith("--")]
            folder = next(word for word in argv if word.startswith("--file=/"))
            return Result(0, self.compose(words, argv, Path(folder).parent.name), "")
        out = getattr(self, argv[0], lambda *_: "")(*argv[1:])
        return Result(0, out, "")

    def compose(self, words: list[str], argv: tuple[str, ...], release: str) -> str:
        if words[0] == "config":
            hashes = "--hash=*" in argv
            return "".join(f"{name} {self.hash(name, release)}\n" for name in SERVICES) * hashes
        for name in words[1:]:
            new = self.hash(name, release)
            old = self.found.get(name)
            if old is None or old["Config"]["Labels"][services.HASH_LABEL] != new:
                self.make(name, release)
            self.found[name]["State"]["Status"] = "running"
        return ""

    @staticmethod
    def hash(name: str, release: str) -> str:
        return "same" if name == "redis" else f"{name}-{release}"

    def make(self, name: str, release: str) -> None:
        number = f"{name}-{len(self.calls)}"
        hosts = self.root / f"hosts-{number}"
        hosts.write_text("127.0.0.1\tlocalhost\n")
        labels = {
            services.PROJECT_LABEL: "xingrin",
            "com.docker.compose.service": name,
            services.HASH_LABEL: self.hash(name, release),
        }
        if name.startswith("server-"):
            labels |= {"stackpin.release": release, "stackpin.slot": name.rpartition("-")[2]}
        self.found[name] = {
            "Id": number,
            "Name": f"/xingrin-{name}-1",
            "Image": "sha256:1",
            "Created": f"{len(self.calls):04}",
            "HostsPath": str(hosts),
            "RestartCount": 0,
            "Config": {"Image": f"reg/{name}:v1{DIGEST}", "Labels": labels, "Env": ["A=b"]},
            "State": {"Status": "running", "Pid": 1, "ExitCode": 0},
            "HostConfig": {"RestartPolicy": {"Name": "no"}},
            "NetworkSettings": {"Networks": {"xingrin_network": {"IPAddress": "172.18.0.9"}}},
        }

    def by_id(self, number: str) -> dict[str, Any]:
        return next(item for item in self.found.values() if item["Id"] == number)

    def ps(self, *_: str) -> str:
        return "\n".join(item["Id"] for item in self.found.values())

    def container(self, _: str, *numbers: str) -> str:
        return json.dumps([i for i in self.found.values() if i["Id"] in numbers])

    def inspect(self, _: str, number: str) -> str:
        return str(self.by_id(number)["HostsPath"])

    def update(self, policy: str, *numbers: str) -> str:
        for number in numbers:
            self.by_id(number)["HostConfig"]["RestartPolicy"]["Name"] = policy.split("=")[1]
        return ""

    def start(self, number: str) -> str:
        self.by_id(number)["State"]["Status"] = "running"
        return ""

    def stop(self, _: str, number: str) -> str:
        self.by_id(number)["State"]["Status"] = "exited"
        return ""

    def rm(self, _: str, *numbers: str) -> str:
        self.found = {k: v for k, v in self.found.items() if v["Id"] not in numbers}
        return ""

    def state(self) -> dict[str, tuple[str, str]]:
        return {
            name: (item["State"]["Status"], item["HostConfig"]["RestartPolicy"]["Name"])
            for name, item in sorted(self.found.items())
            if name.startswith("server")
        }


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    monkeypatch.setenv("STACKPIN_ROOT", str(tmp_path))
    made = Docker(tmp_path)
    monkeypatch.setattr(docker, "docker", made)
    monkeypatch.setattr("stackpin.host.drivers.shared.docker", made)
    monkeypatch.setattr(services, "answers", lambda _place: True)
    monkeypatch.setattr(compose, "RESOLVING", 0.0)
    settings = tmp_path / "etc/stackpin/xingrin-server/stack.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps(SETTINGS))
    for release in ("one", "two"):
        folder = tmp_path / "opt/xingrin-server/releases" / release
        folder.mkdir(parents=True)
        (folder / "compose.yml").write_text("{}")
        (folder / "env").write_text('TOKEN="a$b`c\\"d"\nDB_PASSWORD="x"\n')
        (folder / "release.json").write_text(
            json.dumps({"images": {name: f"reg/{name}:v1{DIGEST}" for name in SERVICES}})
        )
    return made


@pytest.fixture
def stack(engine: Docker) -> Stack:
    return Stack.load("xingrin-server")


def serve(stack: Stack, slot: str, release: str) -> None:
    compose.install(stack, slot, release)
    compose.start(stack, slot)
    compose.front(stack, slot)


def ups(engine: Docker) -> list[str]:
    return [call.partition(" up ")[2] for call in engine.calls if " up " in call]


def test_a_first_release_brings_up_what_it_needs_then_itself_then_what_is_in_front(
    stack: Stack, engine: Docker
) -> None:
    serve(stack, "blue", "one")

    order = [up.split(" ", 5)[-1] for up in ups(engine)]
    assert order == ["redis", "server-blue", "agent", "nginx"]
    assert all("--no-deps --no-build --pull=never" in up for up in ups(engine))
    assert engine.state() == {"server-blue": ("running", "always")}


def test_a_switch_leaves_redis_alone_and_keeps_the_old_slot_stopped(
    stack: Stack, engine: Docker
) -> None:
    serve(stack, "blue", "one")
    redis = engine.found["redis"]["Id"]

    serve(stack, "green", "two")

    assert engine.found["redis"]["Id"] == redis
    assert engine.state() == {
        "server-blue": ("exited", "no"),
        "server-green": ("running", "always"),
    }
    reload = next(i for i, call in enumerate(engine.calls) if "nginx -s reload" in call)
    assert reload < next(i for i, call in enumerate(engine.calls) if call.startswith("stop "))


def test_the_way_back_starts_the_old_container_as_it_is(stack: Stack, engine: Docker) -> None:
    serve(stack, "blue", "one")
    old = engine.found["server-blue"]["Id"]
    serve(stack, "green", "two")

    compose.front(stack, "blue")

    assert engine.found["server-blue"]["Id"] == old
    assert engine.state() == {
        "server-blue": ("running", "always"),
        "server-green": ("exited", "no"),
    }
    assert engine.found["nginx"]["Config"]["Labels"][services.HASH_LABEL] == "nginx-one"


def test_the_way_back_brings_up_what_the_server_needs(stack: Stack, engine: Docker) -> None:
    serve(stack, "blue", "one")
    engine.found["redis"]["State"]["Status"] = "exited"

    compose.front(stack, "blue")

    assert engine.found["redis"]["State"]["Status"] == "running"


def test_a_second_front_changes_nothing(stack: Stack, engine: Docker) -> None:
    serve(stack, "blue", "one")
    before, engine.calls = json.dumps(engine.found), []

    compose.front(stack, "blue")

    assert json.dumps(engine.found) == before
    assert not ups(engine)


def test_front_killed_anywhere_is_completed_by_the_next(stack: Stack, engine: Docker) -> None:
    serve(stack, "blue", "one")
    for death in range(1, 40):
        compose.install(stack, "green", "two")
        compose.start(stack, "green")
        engine.calls, engine.die_at = [], death
        try:
            compose.front(stack, "green")
            done = True
        except KeyboardInterrupt:
            done = False
        engine.die_at = None
        compose.front(stack, "green")
        assert engine.state()["server-green"] == ("running", "always")
        assert engine.state()["server-blue"] == ("exited", "no")
        assert "stackpin" not in Path(engine.found["nginx"]["HostsPath"]).read_text()
        compose.front(stack, "blue")
        compose.remove(stack, "green")
        if done:
            break
    else:
        pytest.fail("front never came to its end")


def test_variables_reach_compose_exactly_and_never_by_argument(
    stack: Stack, engine: Docker
) -> None:
    serve(stack, "blue", "one")

    document = json.loads(engine.documents[-1] or "")
    slot = document["services"]["server-blue"]
    assert slot["environment"]["TOKEN"] == 'a$$b`c"d'  # compose reads $$ as $
    assert slot["restart"] == "no"
    assert not [call for call in engine.calls if "a$b" in call]


def test_containers_may_run_as_the_account_that_owns_the_data() -> None:
    assert services.account("root") == "0:0"
    assert services.account("nobody-of-that-name") == ""


def test_a_service_the_release_has_no_more_is_removed(stack: Stack, engine: Docker) -> None:
    serve(stack, "blue", "one")
    engine.make("frontend", "one")

    compose.front(stack, "blue")

    assert "frontend" not in engine.found


def test_a_foreign_agent_is_refused(stack: Stack, engine: Docker) -> None:
    engine.make("agent", "one")
    engine.found["agent"]["Name"] = "/xingrin-agent"
    engine.found["agent"]["Config"]["Labels"][services.PROJECT_LABEL] = "docker"
    engine.container = lambda _, *__: json.dumps([engine.found["agent"]])  # type: ignore[method-assign]

    with pytest.raises(HostError, match="not of compose project xingrin") as caught:
        compose.require_free(stack, "blue")

    assert caught.value.kind == "refused"


def test_a_foreign_project_of_our_name_is_refused(
    stack: Stack, engine: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(stack, "blue", "one")
    compose.require_free(stack, "green")
    monkeypatch.setattr(docker, "containers", lambda *_: [])  # none has our label

    with pytest.raises(HostError, match=r"xingrin-redis-1.* not made by Stackpin") as caught:
        compose.require_free(stack, "green")

    assert caught.value.kind == "refused"


def test_findings_name_what_differs(stack: Stack, engine: Docker) -> None:
    serve(stack, "blue", "one")
    assert compose_state.findings(stack, busy=False) == []
    assert compose.changed(stack, "blue", "one") == []
    engine.found["agent"]["State"]["Status"] = "exited"
    engine.found["nginx"]["State"]["Health"] = {"Status": "unhealthy"}
    engine.found["redis"]["Config"]["Labels"][services.HASH_LABEL] = "by-hand"
    engine.make("frontend", "one")

    codes = [item.code for item in compose_state.findings(stack, busy=False)]

    assert codes == ["container-not-running", "container-unhealthy", "container-stray"]
    assert compose_state.findings(stack, busy=True) == []
    assert compose.changed(stack, "blue", "one") == ["redis", "agent"]


def test_a_wrong_password_of_a_kept_volume_is_told_at_once(
    stack: Stack, engine: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing:
        service, place = "redis", "postgres:x@y:1"

        @staticmethod
        def login() -> str:
            return 'FATAL: password authentication failed for user "postgres"'

    monkeypatch.setattr(postgres, "database_of", lambda *_: Refusing())
    compose.install(stack, "blue", "one")

    with pytest.raises(HostError, match="keeps the password of its first start"):
        compose.start(stack, "blue")

    assert "server-blue" not in engine.found


def test_the_fact_reads_what_docker_inspect_prints(engine: Docker) -> None:
    engine.make("nginx", "one")
    engine.found["nginx"]["State"]["Health"] = {"Status": "healthy"}

    found = ComposeServices().process([json.dumps(engine.found["nginx"]), "garbage"])

    assert found["nginx"].digest == DIGEST[1:]
    assert (found["nginx"].state, found["nginx"].health) == ("running", "healthy")
    assert "xargs -r docker inspect" in ComposeServices().command("xingrin")


def test_a_release_says_itself_what_it_consists_of(stack: Stack, engine: Docker) -> None:
    own = {"x-stackpin": {"depend": ["redis"], "front": ["agent"]}}
    text = f"# Written by stackpin\n{json.dumps(own)}\n"
    (stack.release_dir("two") / "compose.yml").write_text(text)

    serve(stack, "blue", "one")
    assert "nginx" in engine.found
    del engine.found["nginx"]
    serve(stack, "green", "two")
    assert "nginx" not in engine.found
    assert compose.changed(stack, "green", "two") == []
    compose.front(stack, "blue")
    assert "nginx" in engine.found


def test_a_release_says_itself_which_database_is_its_own(stack: Stack, engine: Docker) -> None:
    stack = stack._replace(postgres={"service": None, "host": "10.0.0.9", "name": "other"})
    own = {"x-stackpin": {"depend": ["postgres", "redis"]}}
    (stack.release_dir("one") / "compose.yml").write_text(json.dumps(own))
    (stack.release_dir("one") / "env").write_text('DB_HOST="postgres"\nDB_NAME="xingrin"\n')

    here = postgres.database_of(stack, "one")
    there = postgres.database_of(stack, "two")

    assert here is not None
    assert there is not None
    assert here.service == "postgres"
    assert here.place == "postgres:xingrin@postgres:5432"
    assert there.service is None
    assert there.place == "postgres:other@10.0.0.9:5432"
