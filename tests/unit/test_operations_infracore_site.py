"""Refusals and small operations InfraCore's deploy file rests on, against facts given by hand."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from fake_host import on_host, run

from facts.files import Node, Tree
from facts.nginx import DEFAULT_LINK, Listening, PackagedDefaultSite
from facts.stacks import SlotPorts, StackState
from facts.tls import Certificate, CertificateInfo
from operations import infracore_edge, refusals, releases, volumes
from stackpin.config.hoststack import SharedPort
from stackpin.config.hoststack import SlotPorts as Ports
from stackpin.config.stacks import STACKS
from stackpin.engine.part import current, loading
from stackpin.engine.remote import RemoteRefused
from stackpin.rollout.preflighting_nginx import refused_site

SITES = {
    "nginx.conf": "http { # listen 1;\n server { listen\n 81 default_server; } }",
    "conf.d/a.conf": "server {listen 127.0.0.1:8082;}server{listen [::]:90 ssl;}",
    "sites-enabled/b c": 'listen unix:/run/x.sock; listen localhost; return 200 "listen 7;";\n'
    "#listen 2;\nlisten 80; listen_x 3; listen *:443 ssl",
}


def listening(folder: Path) -> dict[str, list[int]]:
    fact = Listening.__new__(Listening)
    command = fact.command().replace("/etc/nginx", str(folder))
    told = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    found = fact.process(told.stdout.splitlines())
    return {str(Path(path).relative_to(folder)): ports for path, ports in found.items()}


def test_ports_of_sites_are_read_as_nginx_reads_them(tmp_path: Path) -> None:
    for name, text in SITES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = listening(tmp_path)
    assert found["nginx.conf"] == [81]
    assert found["conf.d/a.conf"] == [90, 8082]
    assert found["sites-enabled/b c"] == [80, 443]
    assert listening(tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("present", "packaged", "refused"),
    [
        ({"/etc/nginx/sites-enabled/shop": [80]}, [], True),
        ({"/etc/nginx/conf.d/old.conf": [8082, 9]}, [], True),
        ({"/etc/nginx/sites-enabled/shop": [8443]}, [], False),
        ({infracore_edge.SITE_LINK: [80, 443, 8082]}, [], False),
        ({DEFAULT_LINK: [80]}, [80], False),
        ({DEFAULT_LINK: [80]}, [], True),  # edited: somebody's
        ({}, [], False),
    ],
)
def test_a_foreign_site_on_the_same_port_is_refused(
    present: dict[str, list[int]], packaged: list[int], refused: bool
) -> None:
    def ask() -> None:
        refusals.require_ports_of_nginx([80, 443, 8082], infracore_edge.SITE_LINK)

    with on_host({Listening: present, PackagedDefaultSite: packaged}):
        if not refused:
            ask()
            return
        with pytest.raises(refusals.DeployRefused) as error:
            ask()
    assert next(iter(present)) in str(error.value)
    assert "expected no other site on this port" in str(error.value)


LIVE = {
    "live_release": "v1.0.0-aaaaaaaa",
    "live_slot": "blue",
    "slots": {"blue": {"active": "active"}},
}


@pytest.mark.parametrize(
    ("declared", "refused"),
    [
        (SharedPort(port=9090, rehearsal=1), False),
        (SharedPort(port=9091, rehearsal=18290), True),
        (Ports(blue=1, green=2, rehearsal=3), True),  # overlap from now on
    ],
)
def test_a_port_both_slots_share_does_not_move_under_them(declared: Any, refused: bool) -> None:
    deployed = {"blue": 9090, "green": 9090, "rehearsal": 18290}
    facts = {StackState: lambda stack: LIVE if stack == "x" else {}, SlotPorts: deployed}
    with on_host(facts):
        if not refused:
            refusals.require_ports_of_live(declared, "x", "x_ports", "Stop it.")
            return
        with pytest.raises(refusals.DeployRefused, match=r"x_ports.*9090.*Stop it\."):
            refusals.require_ports_of_live(declared, "x", "x_ports", "Stop it.")


@pytest.mark.parametrize(
    ("state", "sites", "refused"),
    [
        (LIVE, {"s": [80, 8083]}, True),
        (LIVE, {"s": [80, 8082]}, False),
        (LIVE, {}, False),  # not deployed with nginx yet
        ({}, {"s": [80, 8083]}, False),
        (LIVE | {"slots": {"blue": {"active": "inactive"}}}, {"s": [8083]}, False),
    ],
)
def test_a_port_that_something_live_asks_on_stays(
    state: dict[str, Any], sites: dict[str, list[int]], refused: bool
) -> None:
    with on_host({StackState: state, Listening: sites}):
        if not refused:
            refusals.require_port_kept("p", 8082, "s", "x", "Stop it.")
            return
        with pytest.raises(refusals.DeployRefused, match=r"p: found 8082, .*8083.*Stop it\."):
            refusals.require_port_kept("p", 8082, "s", "x", "Stop it.")


@pytest.mark.parametrize("complete", [True, False])
def test_a_service_does_not_start_without_the_files_it_reads(complete: bool) -> None:
    state = {"releases": [{"id": "v1.0.0-aaaaaaaa", "complete": complete}]}
    asked = {"stack": "f", "release": "v1.0.0-aaaaaaaa", "remedy": "Deploy it."}
    commands, changes, noops = run(releases.needs, {StackState: state}, **asked)
    assert bool(noops) is complete
    if not complete:
        (command,) = commands
        done = subprocess.run(
            ["sh", "-c", str(command)], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert "found no release v1.0.0-aaaaaaaa" in done.stderr
        # Not a release of the service: a plan would take it for what the service is to run.
        assert [change.kind for change in changes] == ["directory"]


def test_a_volume_is_made_once() -> None:
    asked = {"volume": "infracore_data", "stack": "f", "path": "/v/_data"}
    commands, _, _ = run(volumes.present, {Tree: {}}, **asked)
    assert str(commands[0]).startswith("docker volume create --label stackpin.stack=f")
    there = {"/v/_data": Node("directory", "755", "root", "root", 1)}
    assert run(volumes.present, {Tree: there}, **asked)[0] == []


def test_a_deploy_file_learns_its_part_and_stock_pyinfra_tells_none() -> None:
    assert current() is None
    with loading("infracore-gate"):
        assert current() == "infracore-gate"
        with loading("infracore-files"):
            assert current() == "infracore-files"
        assert current() == "infracore-gate"
    with pytest.raises(ValueError, match="x"), loading("infracore-gate"):
        raise ValueError("x")
    assert current() is None


NODE = Node("file", "644", "root", "root", 1)


class Judge:
    """A session whose nginx refuses, or not; without nginx nobody is asked."""

    def __init__(self, *, there: bool = True, refuses: str = "") -> None:
        self.there, self.refuses = there, refuses
        self.asked: list[tuple[str, str, Any]] = []

    def fact(self, host: str, cls: type[Any], paths: Any = (), **_: Any) -> Any:
        if cls is PackagedDefaultSite:
            return [80] if self.there else []
        if cls is Certificate:
            return CertificateInfo(("h1",), matches_key=True) if self.there else None
        return {path: NODE for path in paths if self.there and "stackpin" not in path}

    def call(self, host: str, command: str, part: str, payload: Any, **_: Any) -> None:
        self.asked.append((command, part, payload))
        if self.refuses:
            raise RemoteRefused(host, self.refuses)


def judged(session: Judge, part: str = "infracore-files", **data: Any) -> str | None:
    settings = STACKS["infracore"].settings({"infracore_version": "v1.0.0", **data}, "h1")[part]
    return refused_site(session, "h1", part, settings)  # type: ignore[arg-type]


def test_preflight_has_nginx_judge_the_site_as_a_deploy_would_put_it() -> None:
    session = Judge()
    assert judged(session) == ""
    ((command, part, payload),) = session.asked
    assert (command, part) == ("nginx-test", "infracore-files")
    assert list(payload["enable"]) == [infracore_edge.SITE_LINK]
    assert payload["disable"] == [DEFAULT_LINK]  # both would be the default server
    told = judged(Judge(refuses="duplicate listen options"))
    assert told is not None and told.startswith("duplicate listen options\n")


@pytest.mark.parametrize("tls", ["self-signed", None])
def test_preflight_of_a_bare_host_leaves_nginx_out(tls: str | None) -> None:
    session = Judge(there=False)
    assert judged(session, infracore_tls=tls) is None
    assert judged(Judge(), "infracore-gate") is None
    assert session.asked == []
