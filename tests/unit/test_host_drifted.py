"""What the host notices about itself: runs nobody finished, altered pages, a reload that is due."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import signal
import tarfile
from pathlib import Path
from typing import Any

import pytest

from stackpin.host import findings, journal, main, nginx, releases, system
from stackpin.host.errors import HostError
from stackpin.host.processes import Process
from stackpin.host.reading import Finding, Reading, UnitState
from stackpin.host.stack import Stack
from stackpin.host.system import Result
from tests.unit.host_core_fakes import Host

SITE = "/etc/nginx/sites-available/stackpin-portal.conf"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def unit(slot: str) -> UnitState:
    return UnitState(f"crm@{slot}.service", "active", "running", 1, 0, [], "x", True, False)


def look(stack: Stack, *running: str) -> dict[str, Finding]:
    live = None if stack.is_static else "blue"
    found = findings.look(Reading(stack, live, {s: unit(s) for s in running}, {}, []))
    return {item.code: item for item in found if item.code != "mode-wrong"}


def test_a_run_nobody_drives_hides_nothing(host: Host) -> None:
    stack = host.install()
    host.receive("old")
    host.call("rollout", release="old")
    host.receive("new")
    token = host.call("lock-acquire", owner="me", reason="update", ttl=60)["token"]
    host.call("begin", run="second", release="new", lock_token=token, who="me")
    for stage in ("rehearse", "start"):
        host.call(stage, run="second", lock_token=token)
    assert look(stack, "blue", "green") == {}
    host.call("lock-release", token=token)
    found = look(stack, "blue", "green")
    assert set(found) == {"both-slots-running", "unfinished-run"}
    assert "second" in found["unfinished-run"].message
    assert found["unfinished-run"].found == "run second, started, operator vanished"
    host.call("recover")
    assert look(stack, "blue") == {}


@pytest.fixture
def portal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    monkeypatch.setenv("STACKPIN_ROOT", str(tmp_path))
    document = {"kind": "static", "static": {"root": "/srv/portal", "link": "current"}}
    path = tmp_path / "etc/stackpin/portal/stack.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document))
    return Stack.load("portal")


def receive(stack: Stack) -> dict[str, Any]:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name in ("index.html", "css/site.css"):
            entry = tarfile.TarInfo(name)
            entry.size = len(name)
            tar.addfile(entry, io.BytesIO(name.encode()))
    sha256 = hashlib.sha256(archive.getvalue()).hexdigest()
    stack.incoming_dir.mkdir(parents=True, exist_ok=True)
    (stack.incoming_dir / sha256).write_bytes(archive.getvalue())
    about = {"id": "v1", "version": "v1", "artifact_sha256": sha256}
    return main.perform("receive", "portal", {"release": about})


def alter(site: Path, how: str) -> None:
    page = site / "css/site.css"
    if how == "changed":
        page.write_text("body { display: none }")
    elif how == "removed":
        page.unlink()
    elif how == "added":
        (site / "shell.php").write_text("x")
    elif how == "linked":
        page.unlink()
        page.symlink_to("/etc/passwd")
    else:
        (site / "etc").symlink_to("/etc")


@pytest.mark.parametrize("how", ["changed", "removed", "added", "linked", "linked folder"])
def test_altered_pages_are_seen_and_repaired(portal: Stack, how: str) -> None:
    receive(portal)
    site = portal.release_dir("v1") / "site"
    link = portal.at("/srv/portal/current")
    link.parent.mkdir(parents=True)
    link.symlink_to(site)
    journal.append(portal, "confirmed", release="v1")
    assert look(portal) == {} and not main.perform("state", "portal", {})["live_modified"]
    assert receive(portal)["changed"] is False
    alter(site, how)
    found = look(portal)
    assert list(found) == ["release-modified"]
    assert str(site) in found["release-modified"].message
    assert main.perform("state", "portal", {})["live_modified"]
    assert receive(portal)["changed"] is True
    assert look(portal) == {} and (site / "css/site.css").read_text() == "css/site.css"


def test_pages_of_an_older_release_are_not_accused(portal: Stack) -> None:
    receive(portal)
    about = portal.release_dir("v1") / "release.json"
    known = json.loads(about.read_text())
    del known["files"]
    about.write_text(json.dumps(known))
    assert receive(portal)["changed"] is False


@pytest.mark.parametrize("name", ["env", "unit", "server", "added"])
def test_an_altered_release_is_seen_and_repaired(host: Host, name: str) -> None:
    stack = host.install()
    host.receive("v1")
    host.call("rollout", release="v1")
    assert look(stack, "blue") == {}
    path = stack.release_dir("v1") / name
    path.write_text("x")
    found = look(stack, "blue")["release-modified"]
    assert str(path) in found.message
    digests = [text for text in (found.expected, found.found) if re.search("[0-9a-f]{64}", text)]
    assert len(digests) == {"env": 0, "added": 1}.get(name, 2)
    assert host.call("state")["live_modified"]
    host.receive("v1")
    assert look(stack, "blue") == {}
    assert not host.call("state")["live_modified"]


def test_a_release_of_before_is_not_accused(host: Host) -> None:
    stack = host.install()
    host.receive("v1")
    host.call("rollout", release="v1")
    (stack.release_dir("v1") / "sums.json").unlink()
    assert look(stack, "blue") == {}
    (stack.release_dir("v1") / "server").write_text("x")
    assert set(look(stack, "blue")) == {"release-modified"}


def test_a_journal_that_was_removed_is_seen(host: Host) -> None:
    stack = host.install()
    host.receive("v1")
    assert look(stack) == {}
    host.call("rollout", release="v1")
    stack.journal_file.unlink()
    assert set(look(stack, "blue")) == {"slot-journal-disagreement"}


def test_a_process_with_variables_of_before_is_seen(host: Host) -> None:
    stack = host.install()
    host.receive("v1")
    host.call("rollout", release="v1")
    stack.slot_env_file("blue").parent.mkdir(exist_ok=True)
    stack.slot_env_file("blue").write_text('X="declared"\n')
    declared = releases.environment(stack, "v1", "blue")

    def found(environment: dict[str, str]) -> list[Finding]:
        one = Process(1, "/x", False, [], environment, None)
        reading = Reading(stack, "blue", {"blue": unit("blue")}, {"blue": one}, [])
        return [item for item in findings.look(reading) if item.code != "mode-wrong"]

    assert found({**declared, "PATH": "/bin"}) == []
    [finding] = found({**declared, "X": "of-before"})
    assert finding.code == "env-changed"
    assert "of-before" not in str(finding), "values may be secrets"


class Nginx:
    """A pretended nginx: which commands it got, and whether it refuses."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        home = root / "etc/nginx"
        home.mkdir(parents=True)
        (home / "nginx.conf").write_text("events{}")
        self.calls: list[list[str]] = []
        self.refuse: list[str] = []
        patch.setattr(system, "run", self.run)

    def run(self, argv: list[str], *_: Any, **more: Any) -> Result:
        self.calls.append(argv[:3])
        if argv[:2] == self.refuse:
            if more.get("check", True):
                raise HostError("error", "does not reload")
            return Result(1, "", "nginx: [emerg] no")
        return Result(0, "", "")

    def reloaded(self) -> bool:
        return ["systemctl", "reload", "nginx"] in self.calls


@pytest.fixture
def web(portal: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nginx:
    assert portal.installed
    return Nginx(tmp_path, monkeypatch)


def apply(text: str) -> dict[str, Any]:
    return main.perform("nginx-apply", "portal", {"files": {SITE: text}})


def due() -> bool:
    answer = main.perform("state", "portal", {})["nginx_reload_pending"]
    assert isinstance(answer, bool)
    return answer


def test_nginx_is_reloaded_after_a_program_that_died_before_it(web: Nginx, portal: Stack) -> None:
    child = os.fork()
    if child == 0:
        nginx._reload = lambda: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment,return-value]
        apply("server{}")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert portal.at(SITE).read_text() == "server{}" and due()
    told = apply("server{}")
    assert told["reloaded"] and told["changed"] == [] and web.reloaded() and not due()
    web.calls.clear()
    assert not apply("server{}")["reloaded"] and not web.reloaded()


def test_a_reload_stays_due_only_when_nginx_may_have_read_what_is_gone(
    web: Nginx, portal: Stack
) -> None:
    apply("good{}")
    web.refuse = ["nginx", "-t"]
    with pytest.raises(HostError, match="refuses"):
        apply("bad{}")
    assert portal.at(SITE).read_text() == "good{}" and not due()
    web.refuse = ["systemctl", "reload"]
    with pytest.raises(HostError, match="not reloaded"):
        apply("server{}")
    assert portal.at(SITE).read_text() == "good{}" and due()
    web.refuse = []
    assert apply("good{}")["reloaded"] and not due()
