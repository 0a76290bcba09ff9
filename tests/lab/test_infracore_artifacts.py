"""InfraCore from where its files are made: a commit, a build host, an image; and its mirrors.

Then the verbs whose subject in mode compose is a container: doctor, and an uninstall that keeps
data. In file order.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from infracore_kit import SERVICES, Composed, Infracore, built
from project import REPOSITORY, host_name

from stackpin.config.mirrors import PROFILES
from stackpin.config.sources import git, image
from stackpin.lab import Lab
from stackpin.lab.apps.infracore.source import BUILD, OUTPUTS, write_repo

pytestmark = pytest.mark.timeout(900)
GOOD, NEXT, LAST = "v1.0.0", "v1.1.0", "v1.5.0"
BUILDER = "node1"  # by this name it is a host of a fleet, not of the inventory
BUNDLE = "infracore/bundle"

# `ssh` finds the lab by the names of its hosts, as an operator's own configuration would.
SSH = """#!/bin/sh
exec /usr/bin/ssh -F {folder}/ssh_config "$@"
"""
# The docker of the operator's machine is the one of a lab host.
DOCKER = """#!{python}
import os, shlex, sys
os.execvp("ssh", ["ssh", "root@box", shlex.join(["docker", *sys.argv[1:]])])
"""


@dataclass
class Outside:
    """What the operator has beside the hosts: a repository, a cache, a registry."""

    repo: Path
    commits: dict[str, str]
    cache: Path
    image: str


@pytest.fixture(scope="module")
def outside(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    lab.up(names=["box"], docker=True)
    lab.up(names=[BUILDER])
    lab.registry.start()
    lab.registry.push(("infracore",))
    lab.reset("box")
    folder = tmp_path_factory.mktemp("outside")
    programs = folder / "programs"
    programs.mkdir()
    texts = {"ssh": SSH.format(folder=folder), "docker": DOCKER.format(python=sys.executable)}
    for name, text in texts.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    places = {host.name: host.address for host in lab.hosts}
    places["elsewhere"] = lab.host(host_name(lab)).address  # another name of a host that serves
    (folder / "ssh_config").write_text(
        f"IdentityFile {lab.ssh_key}\nIdentitiesOnly yes\nStrictHostKeyChecking yes\n"
        f"UserKnownHostsFile {lab.known_hosts}\n"
        + "".join(f"Host {name}\n  HostName {place}\n" for name, place in places.items())
    )
    repo = folder / "infra-core"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(programs), prepend=":")
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        cache = folder / "cache/stackpin/artifacts"
        reference = f"{lab.registry.address}/{BUNDLE}"
        yield Outside(repo, write_repo(repo, [GOOD, NEXT]), cache, reference)


@pytest.fixture(scope="module")
def core(lab: Lab, outside: Outside, tmp_path_factory: pytest.TempPathFactory) -> Infracore:
    return Infracore.make(lab, lab.reset(host_name(lab)), tmp_path_factory.mktemp("systemd"))


@pytest.fixture(scope="module")
def composed(lab: Lab, outside: Outside, tmp_path_factory: pytest.TempPathFactory) -> Composed:
    core = Composed.make(lab, lab.host("box"), tmp_path_factory.mktemp("compose"))
    core.lock_path.unlink(missing_ok=True)
    core.lock_digests(GOOD)
    return core


def origins(core: Infracore, version: str) -> dict[str, dict[str, Any]]:
    """Where each service's executable came from, as the evidence of its deploy tells."""
    found = {}
    for path in sorted((core.folder / "evidence").rglob("01-artifact.json")):
        told = json.loads(path.read_text())
        if told["artifact"] and told["version"] == version:
            found[Path(told["artifact"]["path"]).name] = told["artifact"]
    return {name: found[name] for name in SERVICES}


def runs_what_was_made(core: Infracore, version: str) -> dict[str, Any]:
    """Assert that each service runs the output the evidence names; return the one origin of all."""
    core.runs(version)
    told = origins(core, version)
    for service, artifact in told.items():
        slot = core.state(f"infracore-{service}")["live_slot"]
        path = f"/opt/infra-core/services/{service}/slots/{slot}/server"
        sha256 = core.on_host(f"sha256sum {path}").split()[0]
        assert sha256 == artifact["sha256"]
        assert sha256 == artifact["origin"]["outputs"][f"bin/{service}"]["sha256"]
    first, *others = (artifact["origin"] for artifact in told.values())
    assert all(one == first for one in others)
    return dict(first)


@pytest.mark.parametrize("name", ["host", "elsewhere"])
def test_a_host_that_serves_builds_nothing(core: Infracore, outside: Outside, name: str):
    where = core.host.name if name == "host" else name
    source = git(str(outside.repo), outputs=OUTPUTS, build_host=f"deploy@{where}")
    ran = core.deploy(infracore_artifact=source).exits(3)
    assert "found a host of this inventory" in ran.text
    assert not list(outside.cache.rglob("bin/console"))


def test_a_commit_is_built_and_deployed(core: Infracore, outside: Outside):
    source = git(str(outside.repo), build=BUILD, outputs=OUTPUTS)
    core.deploy(infracore_artifact=source).exits(0)
    origin = runs_what_was_made(core, GOOD)
    assert (origin["kind"], origin["commit"]) == ("git", outside.commits[GOOD])
    assert origin["build"] == list(BUILD)
    assert b"</html>" in core.outside("/")[1], "npm made the interface"
    before = core.processes()
    ran = core.deploy(infracore_artifact=source).exits(0)
    assert BUILD[0] not in ran.text, "it was taken from the cache"
    assert core.processes() == before


def test_a_build_host_builds_the_next_one_behind_mirrors(core: Infracore, outside: Outside):
    # No npm there: the interface is taken as it is written.
    commands = ["python3 build.py", "cp -r ui/src ui/dist", "(id -un; env; cat ~/.npmrc) >seen"]
    source = git(
        str(outside.repo), build=commands, outputs=[*OUTPUTS, "seen"],
        build_host=f"deploy@{BUILDER}", mirrors="cn",
    )  # fmt: skip
    core.update(NEXT, infracore_artifact=source).exits(0)
    origin = runs_what_was_made(core, NEXT)
    assert (origin["commit"], origin["build_host"]) == (outside.commits[NEXT], f"deploy@{BUILDER}")
    (seen,) = outside.cache.rglob("files/seen")
    lines = seen.read_text().splitlines()
    cn = PROFILES["cn"]
    assert lines[0] == "deploy"
    assert f"GOPROXY={cn.goproxy},direct" in lines
    assert f"npm_config_registry={cn.npm}" in lines
    assert any(line.startswith(f"registry={cn.npm}") for line in lines)
    left = core.lab.run(BUILDER, "find / -xdev -name 'stackpin-build-*' -not -path '/proc/*'")
    assert left.stdout == "", "nothing stays on a build host"


def test_files_of_an_image_are_deployed(core: Infracore, outside: Outside):
    built()
    place = f"{outside.image}:{LAST}"
    registry = core.lab.registry
    bundle = shlex.quote(str(REPOSITORY / f"artifacts/infracore/infracore-{LAST}"))
    made = core.program(
        [
            "sh",
            "-ec",
            f"tar -C {bundle} --transform 's,^,app/,' -c bin ui | docker import - {place}",
        ]
    )
    made.exits(0)
    trusted = f"/etc/docker/certs.d/{registry.address}"
    ca = shlex.quote(registry.ca.read_text())
    core.lab.run("box", f"mkdir -p {trusted} && echo {ca} > {trusted}/ca.crt")
    login = f"docker login -u {registry.username} --password-stdin {registry.address}"
    core.lab.run("box", f"echo {shlex.quote(registry.password)} | {login}")
    pushed = core.program(["docker", "push", place]).exits(0)
    digest = pushed.out.partition("digest: ")[2].split()[0]
    core.lab.run("box", f"docker rmi {place}")
    source = image(f"{outside.image}:{{version}}", OUTPUTS, root="/app")
    core.update(LAST, infracore_artifact=source).exits(0)
    origin = runs_what_was_made(core, LAST)
    assert (origin["kind"], origin["image"]) == ("image", f"{outside.image}@{digest}")
    assert core.lab.run("box", "docker ps --all --quiet").stdout == "", "no container is left"


def test_the_mirrors_reach_docker(composed: Composed):
    composed.deploy(infracore_mirrors="cn").exits(0)
    composed.runs(GOOD)
    wanted = [f"{PROFILES['cn'].docker}/"]
    written = json.loads(composed.on_host("cat /etc/docker/daemon.json"))
    assert written["registry-mirrors"] == wanted
    read = composed.on_host("docker info -f '{{json .RegistryConfig.Mirrors}}'")
    assert json.loads(read) == wanted
    composed.stackpin("drift", "infracore", infracore_mirrors="cn").exits(0)


def test_doctor_explains_a_container_that_was_stopped(composed: Composed):
    composed.stackpin("doctor", "infracore").exits(0)
    name = composed.containers()["probe"]["Name"].removeprefix("/")
    bundle = composed.folder / "doctor.tar.gz"
    composed.on_host(f"docker stop {name}")
    try:
        ran = composed.stackpin("doctor", "infracore", "--bundle", str(bundle)).exits(2)
    finally:
        composed.on_host(f"docker start {name}")
    assert "infracore-probe@" in ran.text
    assert "stackpin start inventories/infra infracore probe" in ran.text
    assert bundle.stat().st_mode & 0o777 == 0o600
    composed.wait_for(lambda: composed.ask(8085, "/health")[0] == 200, 30)
    composed.stackpin("doctor", "infracore").exits(0)


def test_uninstall_keeps_the_data_and_its_owner(composed: Composed):
    composed.register("stays")
    owner = composed.on_host("id -u infracore")
    composed.stackpin("uninstall", "infracore", "--keep-data", "--yes").exits(0)
    assert composed.on_host("docker ps --all --quiet") == ""
    assert composed.on_host("ls -d /opt/infra-core 2>/dev/null; true") == ""
    assert (
        composed.on_host(f"stat -c %u {composed.VOLUME}/console.db; id -u infracore") == owner * 2
    )
    composed.deploy().exits(0)
    composed.runs(GOOD)
    assert composed.login("stays")[0] == 200
