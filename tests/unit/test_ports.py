"""Ports of a live release are not changed under it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_host import on_host

from facts import stacks
from facts.stacks import SlotPorts, StackState
from operations import refusals
from stackpin.config.crm import CrmSettings
from stackpin.config.load import load
from stackpin.config.portal import PortalSettings
from stackpin.config.sources import image
from stackpin.config.stacks import stack
from stackpin.engine.session import Mapped
from stackpin.errors import Refused
from stackpin.rollout.preflighting import ask_hosts, complain

OLD = {"blue": 18190, "green": 18191, "rehearsal": 18192}
NEW = {"blue": 19190, "green": 18191, "rehearsal": 18192}
LIVE = {
    "installed": True,
    "live_release": "v1.0.0-aaaaaaaa",
    "live_slot": "blue",
    "slots": {"blue": {"active": "active"}},
}
STOPPED = LIVE | {"slots": {"blue": {"active": "inactive"}}}
CASES = [
    (LIVE, NEW, True),
    (LIVE, OLD, False),
    (LIVE, OLD | {"rehearsal": 19999}, False),
    (STOPPED, NEW, False),
    (LIVE | {"slots": {"blue": {"active": "unknown"}}}, NEW, True),
    (LIVE | {"live_release": None, "live_slot": None}, NEW, False),
    ({"installed": False}, NEW, False),
]


def crm(ports: dict[str, int], **more: Any) -> CrmSettings:
    data = {"crm_version": "v1.0.0", "crm_admin_token": "env:T", "crm_ports": ports, **more}
    return load(CrmSettings, "crm_", data, "a")


@pytest.mark.parametrize(("state", "declared", "refused"), CASES)
def test_deploy_files(state: dict[str, Any], declared: dict[str, int], refused: bool) -> None:
    facts = {StackState: lambda stack: state if stack == "crm" else {}, SlotPorts: OLD}
    with on_host(facts):
        if not refused:
            refusals.require_ports_of_live(crm(declared).ports)
            return
        with pytest.raises(refusals.DeployRefused, match="crm_ports") as error:
            refusals.require_ports_of_live(crm(declared).ports)
    assert "19190" in str(error.value)
    assert "stackpin stop" in str(error.value)


def test_both_deploy_files_ask_before_they_change_anything() -> None:
    for name, ports in (("crm", "settings.ports"), ("portal", "settings.upstream.ports")):
        text = (Path(__file__).parents[2] / f"deploys/{name}.py").read_text()
        assert f"refusals.require_ports_of_live({ports})" in text
        assert text.index("require_ports_of_live") < text.index("packages.installed(")


ITEM = {
    "name": "x", "ok": True, "severity": "fail", "measured": "", "expected": "", "remedy": "",
    "scope": "host",
}  # fmt: skip


class Session:
    hosts = ("a",)

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state

    def call(self, _host: str, command: str, *_: Any, **__: Any) -> dict[str, Any]:
        return self.state if command == "state" else {"items": []}

    def fact(self, _host: str, cls: type[Any], **_: Any) -> Any:
        return OLD if cls is SlotPorts else cls.default()  # nginx is not there

    def map(self, function: Any) -> Mapped[Any]:
        return Mapped({"a": function("a")})


@pytest.mark.parametrize("name", ["crm", "portal", "site"])
@pytest.mark.parametrize(("state", "declared", "refused"), CASES)
def test_preflight(
    state: dict[str, Any],
    declared: dict[str, int],
    refused: bool,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    portal = {"portal_server_name": "x.example.net", "crm_ports": declared}
    settings = {
        "portal": load(PortalSettings, "portal_", portal, "a"),
        "crm": crm(declared),
    }
    chosen = {part.name: settings[part.name] for part in stack(name).components()}
    found = ask_hosts(Session(state), {"a": chosen}, {})  # type: ignore[arg-type, dict-item]
    if not refused:
        complain(found)
        return
    with pytest.raises(Refused, match="crm_ports") as error:
        complain(found)
    assert str(error.value).count("crm_ports:") == 1


def test_questions_about_a_host_are_asked_with_its_first_part_only() -> None:
    asked: list[tuple[str, dict[str, Any]]] = []
    item = {"ok": True, "severity": "fail", "measured": "", "expected": "", "remedy": ""}

    def call(_host: str, command: str, part: str, payload: Any = None, **_: Any) -> dict[str, Any]:
        if command == "state":
            return {"installed": False}
        asked.append((part, payload))
        scopes = ["host", "part"] if payload["system"] else ["part"]
        return {"items": [{**item, "name": f"{part} {s}", "scope": s} for s in scopes]}

    session: Any = Session({"installed": False})
    session.call = call
    portal = load(PortalSettings, "portal_", {"portal_server_name": "x.example.net"}, "a")
    found = ask_hosts(session, {"a": {"portal": portal, "crm": crm(OLD)}}, {})["a"]
    assert {part: [one["name"] for one in items] for part, items in found.items()} == {
        "host": ["portal host"],
        "portal": ["configuration", "portal part"],
        "crm": ["configuration", "crm part"],
    }
    assert "scope" not in found["host"][0]
    assert found["crm"][0]["measured"].endswith("variable(s) set, all valid")
    (_, first), (_, second) = asked
    assert (first["system"], second["system"]) == (True, False)
    needs = first["needs"]
    assert needs["memory_mb"] == 128 and set(needs["versions"]) == {"nginx", "git", "restic"}
    assert needs["own"] == ["portal", "crm"] and needs["ports"] == [80, 443]


def test_six_parts_ask_the_host_and_its_registry_once() -> None:
    asked: dict[str, Any] = {}

    def call(_host: str, command: str, part: str, payload: Any = None, **_: Any) -> dict[str, Any]:
        if command == "preflight":
            asked[part] = payload
        if command == "state" or "registry" not in payload["needs"]:
            return {"installed": True, "live_release": "x", "items": [ITEM]}
        silent = {**ITEM, "name": "registry reg.example.net", "ok": False, "scope": "part"}
        return {"items": [ITEM, silent]}

    session: Any = Session({})
    session.call = call
    data = {
        "infracore_version": "v1.0.0",
        "infracore_mode": "compose",
        "infracore_registry": "reg.example.net",
        "infracore_artifact": image("reg.example.net/infracore:{version}", ["bin"]),
    }
    parts = stack("infracore").settings(data, "a")
    found = ask_hosts(session, {"a": parts}, {})["a"]
    assert list(found) == ["host", *parts]
    first = next(iter(parts))
    assert [part for part in parts if asked[part]["system"]] == [first]
    assert [part for part in parts if "registry" in asked[part]["needs"]] == [first]
    (silent,) = (item for items in found.values() for item in items if not item["ok"])
    assert silent["severity"] == "warn"  # a release is live: the images may be there
    assert "configs/" in found[first][0]["measured"]


def test_the_host_tells_ports_and_no_secret_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacks, "SETTINGS", str(tmp_path / "{stack}.json"))
    (tmp_path / "crm.json").write_text(json.dumps({"ports": OLD, "backup": {"env": {"K": "s"}}}))

    def ask(name: str) -> Any:
        text = SlotPorts().command(stack=name).replace("python3", sys.executable)
        done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True)
        assert '"s"' not in done.stdout
        return SlotPorts().process(done.stdout.splitlines())

    assert ask("crm") == OLD
    assert ask("none") == {}
    (tmp_path / "bad.json").write_text("{")
    assert ask("bad") == {}


class Dark:
    """A transport on which nothing listens."""

    def open_channel(self, *_: Any, **__: Any) -> None:
        raise EOFError("refused")


@pytest.mark.parametrize(
    ("name", "public", "refused"),
    [
        ("crm", {"crm_public_url": "https://x.example.net", "crm_public_ca": "host"}, True),
        ("crm", {"crm_public_url": "https://x.example.net", "crm_public_ca": "system"}, False),
        ("crm", {}, False),
        ("site", {"crm_public_url": "https://x.example.net", "crm_public_ca": "host"}, False),
    ],
)
def test_public_checks_of_the_crm_alone_need_its_portal(
    name: str, public: dict[str, str], refused: bool
) -> None:
    session: Any = Session({"installed": False})
    session.remote = lambda _host: SimpleNamespace(transport=Dark())
    portal = load(PortalSettings, "portal_", {"portal_server_name": "x.example.net"}, "a")
    settings = {"portal": portal, "crm": crm(OLD, **public)}
    chosen = {part.name: settings[part.name] for part in stack(name).components()}
    found = ask_hosts(session, {"a": chosen}, {})
    if not refused:
        complain(found)
        return
    with pytest.raises(Refused, match="portal first"):
        complain(found)
