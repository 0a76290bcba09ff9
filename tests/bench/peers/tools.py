"""The tools, each as its users run it: how to look, how to apply, and how much that changed."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stackpin.lab import Lab, LabHost
from stackpin.lab.inventory import host_data
from stackpin.lab.ssh import ssh_command
from tests.bench.peers.state import STATE, values
from tests.lab.project import PYINFRA, REPOSITORY

__all__ = ["Command", "Place", "Task", "Tool", "tools"]

HERE = Path(__file__).parent
# look: say what there is to do, where the tool can without doing it; apply: do it.
Task = Literal["look", "apply"]


@dataclass(frozen=True)
class Place:
    """What every tool is given: the lab's hosts, and a folder with the sources laid out."""

    lab: Lab
    hosts: Sequence[LabHost]
    folder: Path


@dataclass(frozen=True)
class Command:
    """A program to run: its words, and variables besides the environment's."""

    argv: list[str]
    env: dict[str, str]


class Tool(ABC):
    """One way of bringing the state about. `name` is shown, `key` is for code."""

    key: str
    name: str
    remembers = False
    """Whether what one look leaves behind serves the next: then one goes before the measured."""

    @abstractmethod
    def command(self, place: Place, task: Task, edition: int) -> Command:
        """Write what the tool needs into the folder and return its command line."""

    @abstractmethod
    def changed(self, output: str) -> int:
        """Read from its standard output how many resources it changed, or would."""


class Ansible(Tool):
    key, name = "ansible", "Ansible"

    def __init__(self, programs: Path) -> None:
        self.programs = programs

    def command(self, place: Place, task: Task, edition: int) -> Command:
        folder = place.folder
        (folder / "values.json").write_text(json.dumps(values(edition)))
        playbook = folder / "playbook.yml"
        playbook.write_bytes((HERE / "playbook.yml").read_bytes())
        rows = [f"{host.name} ansible_host={host.address}" for host in place.hosts]
        (folder / "hosts").write_text("[all]\n" + "\n".join(rows) + "\n")
        # A master connection of an earlier run would be a head start that no other tool has.
        sockets = folder / "ansible" / str(len(list(folder.glob("ansible/*"))))
        sockets.mkdir(parents=True)
        ssh = f"-F /dev/null -o UserKnownHostsFile={place.lab.known_hosts} -o IdentitiesOnly=yes"
        env = {
            "ANSIBLE_FORKS": "50",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_SSH_ARGS": f"-C -o ControlMaster=auto -o ControlPersist=60s {ssh}",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(sockets),
            "ANSIBLE_REMOTE_USER": "deploy",
            "ANSIBLE_PRIVATE_KEY_FILE": str(place.lab.ssh_key),
            "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
            "ANSIBLE_DEPRECATION_WARNINGS": "0",
            "ANSIBLE_HOME": str(folder / "ansible-home"),
            "ANSIBLE_NOCOLOR": "1",
            "LC_ALL": "C.UTF-8",
        }
        program = str(self.programs / "ansible-playbook")
        return Command([program, "-i", str(folder / "hosts"), str(playbook)], env)

    def changed(self, output: str) -> int:
        recap = output.rpartition("PLAY RECAP")[2]
        assert recap, output
        return sum(map(int, re.findall(r"changed=(\d+)", recap)))


class Mitogen(Ansible):
    key, name = "mitogen", "Ansible + Mitogen"

    def command(self, place: Place, task: Task, edition: int) -> Command:
        plain = super().command(place, task, edition)
        plugins = next(self.programs.parent.glob("lib/*/site-packages/ansible_mitogen"))
        strategy = {
            "ANSIBLE_STRATEGY": "mitogen_linear",
            "ANSIBLE_STRATEGY_PLUGINS": str(plugins / "plugins/strategy"),
        }
        return Command(plain.argv, plain.env | strategy)


class Pyinfra(Tool):
    def __init__(self, *, nagle: bool) -> None:
        self.nagle = nagle
        self.key = "pyinfra" if nagle else "pyinfra_nodelay"
        self.name = "pyinfra" if nagle else "pyinfra with TCP_NODELAY"

    def command(self, place: Place, task: Task, edition: int) -> Command:
        inventory = _inventory(place, edition, nagle=self.nagle)
        how = "--dry" if task == "look" else "-y"
        deploy = str(HERE / "deploy_pyinfra.py")
        return Command([PYINFRA, inventory, deploy, how, "--json"], {})

    def changed(self, output: str) -> int:
        document = json.loads(output)
        if document["results"] is None:
            return sum(len(one["hosts_with_change"]) for one in document["plan"])
        assert not document["results"]["failed_hosts"], output
        return int(document["results"]["totals"]["success"])


class Stackpin(Tool):
    remembers = True  # which facts were read, here; its program, until the host reboots

    def __init__(self, key: str, name: str, deploy: str) -> None:
        self.key, self.name, self.deploy = key, name, str(HERE / deploy)

    def command(self, place: Place, task: Task, edition: int) -> Command:
        verb = "plan" if task == "look" else "apply"
        inventory = _inventory(place, edition, nagle=False)
        argv = [sys.executable, "-m", "tests.bench.peers.driver", verb, inventory, self.deploy]
        # What it remembers of the last run: nothing of another bench or of the user's.
        return Command(argv, {"XDG_CACHE_HOME": str(place.folder / f"cache-{self.key}")})

    def changed(self, output: str) -> int:
        return int(json.loads(output)["changed"])


class Bash(Tool):
    key, name = "bash", "one bash script"

    def command(self, place: Place, task: Task, edition: int) -> Command:
        folder = place.folder
        fill = [f"s|{{{{ {name} }}}}|{value}|g\n" for name, value in values(edition).items()]
        (folder / "values.sed").write_text("".join(fill))
        (folder / "rows.sh").write_text(_rows())
        small = (*STATE.templates, *STATE.files, *STATE.units, STATE.site, STATE.sysctl_file)
        files = [
            f"{one.mode.lstrip('0')} {one.user} {one.group} {one.path} {one.source}\n"
            for one in sorted(small, key=lambda one: one.source)
        ]
        (folder / "files.rows").write_text("".join(files))
        *ssh, _address = ssh_command(place.lab.paths, place.hosts[0], user="deploy")
        addresses = [host.address for host in place.hosts]
        argv = ["bash", str(HERE / "converge.sh"), str(folder), *addresses]
        return Command(argv, {"SSH": shlex.join(ssh)})

    def changed(self, output: str) -> int:
        return sum(map(int, re.findall(r" changed (\d+)$", output, re.M)))


def _rows() -> str:
    directories = [
        f"{one.mode.lstrip('0')} {one.user} {one.group} {one.path}" for one in STATE.directories
    ]
    variables = {
        "packages": " ".join(STATE.packages),
        "user": STATE.user,
        "home": STATE.home,
        "shell": STATE.shell,
        "directories": "\n".join(directories),
        "binary": STATE.binary,
        "links": "\n".join(f"{one.path} {one.target}" for one in STATE.links),
        "units": " ".join(one.source for one in STATE.units),
        "site_link": STATE.site_link.path,
        "site_target": STATE.site_link.target,
        "sysctl_key": STATE.sysctl[0],
        "sysctl_value": STATE.sysctl[1],
        "sysctl_file": STATE.sysctl_file.path,
    }
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())


def _inventory(place: Place, edition: int, *, nagle: bool) -> str:
    """Write an inventory file for pyinfra and for Stackpin."""
    hosts = [(host.name, host_data(place.lab, host)) for host in place.hosts]
    data = {"_sudo": True, "sources": str(place.folder), "edition": edition}
    factory = "NoDelayTransport"
    lines = [f"warehouse = ({hosts!r}, {data!r})"]
    if not nagle:
        lines.insert(0, f"from stackpin.engine.transport import {factory}")
        lines.append(
            f"warehouse[1]['ssh_paramiko_connect_kwargs'] = {{'transport_factory': {factory}}}"
        )
    path = place.folder / f"inventory{'_nagle' if nagle else ''}.py"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def tools(programs: Path | None) -> list[Tool]:
    """List them, slowest first; `programs` has Ansible's (None: it could not be installed)."""
    peers = [Ansible(programs), Mitogen(programs)] if programs else []
    return [
        *peers,
        Pyinfra(nagle=True),
        Pyinfra(nagle=False),
        Stackpin("stackpin_pyinfra", "Stackpin, pyinfra's operations", "deploy_pyinfra.py"),
        Stackpin("stackpin", "Stackpin", "deploy_stackpin.py"),
        Bash(),
    ]


def environment(command: Command) -> dict[str, str]:
    """Return the variables a tool runs with: none of ours change how it does."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ANSIBLE_", "PYINFRA_"))}
    return kept | command.env | {"PYTHONPATH": str(REPOSITORY)}
