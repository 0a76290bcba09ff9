"""A project folder of its own, one lab host, and the programs an operator runs there."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from stackpin.lab import Lab, LabHost
from stackpin.lab.apps.crm.build import build
from stackpin.lab.ssh import ssh_command

REPOSITORY = Path(__file__).resolve().parents[2]
INVENTORY = "inventories/lab"
STACKPIN = str(Path(sys.executable).with_name("stackpin"))
PYINFRA = str(Path(sys.executable).with_name("pyinfra"))


@dataclass(frozen=True)
class Ran:
    """How a program ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def exits(self, code: int) -> Ran:
        assert self.code == code, f"exit {self.code}\n{self.text}"
        return self


@functools.cache
def artifacts() -> Path:
    """The folder of the CRM's releases, built once per session.

    Built even when it is there: that takes no time, and releases of yesterday's sources would be
    tested unnoticed. Each file is replaced in one step, so sessions do not disturb each other.
    """
    build(REPOSITORY / "artifacts" / "crm")
    return REPOSITORY / "artifacts"


def clone(folder: Path) -> None:
    """Make `folder` look like a clone: inventories are a copy to change, the rest are links."""
    for path in (*map(REPOSITORY.joinpath, ("deploys", "portal", "templates")), artifacts()):
        (folder / path.name).symlink_to(path)
    shutil.copytree(REPOSITORY / "inventories", folder / "inventories", symlinks=True)


def flags(data: dict[str, object]) -> list[str]:
    """The `--data` words for variables; what is not a string is given as JSON."""
    words = []
    for name, value in data.items():
        words += ["--data", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
    return words


def run(argv: list[str], folder: Path, env: dict[str, str], timeout: float = 480) -> Ran:
    """Run a program in `folder` with nobody to answer its questions."""
    done = subprocess.run(
        argv,
        cwd=folder,
        env=os.environ | env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def host_name(lab: Lab) -> str:
    """The host to test on: STACKPIN_LAB_HOST names one, the first otherwise."""
    return os.environ.get("STACKPIN_LAB_HOST") or lab.hosts[0].name


@dataclass
class Project:
    """One host and one folder; each kit adds what its own tests need."""

    lab: Lab
    host: LabHost
    folder: Path

    DATA: ClassVar[dict[str, object]] = {}
    """Variables given to every run."""
    ENVIRONMENT: ClassVar[dict[str, str]] = {}
    TIMEOUT: ClassVar[float] = 240
    """Seconds a run may take."""

    @classmethod
    def make(cls, lab: Lab, host: LabHost, folder: Path) -> Self:
        clone(folder)
        return cls(lab, host, folder)

    def argv(self, command: str, stack: str, *words: str, **data: object) -> list[str]:
        """`command` may hold subcommand words: "backup list"."""
        argv = [STACKPIN, *command.split(), INVENTORY, stack, "--limit", self.host.name]
        return [*argv, *words, *flags({**self.DATA, **data})]

    def pyinfra_argv(self, deploy: str, *words: str, **data: object) -> list[str]:
        argv = [PYINFRA, INVENTORY, f"deploys/{deploy}.py", "--limit", self.host.name]
        return [*argv, *words, *flags({**self.DATA, **data})]

    def program(self, argv: list[str]) -> Ran:
        return run(argv, self.folder, self.ENVIRONMENT, self.TIMEOUT)

    def stackpin(self, command: str, stack: str, *words: str, **data: object) -> Ran:
        return self.program(self.argv(command, stack, *words, **data))

    def start(self, command: str, stack: str, *words: str) -> subprocess.Popen[str]:
        """Start `stackpin` and do not wait for its end."""
        return subprocess.Popen(
            self.argv(command, stack, *words),
            cwd=self.folder,
            env=os.environ | self.ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def on_host(self, command: str, data: bytes = b"") -> str:
        """Run a shell command as root on the host; `data` is its standard input."""
        argv = [*ssh_command(self.lab.paths, self.host), command]
        done = subprocess.run(argv, input=data, capture_output=True, check=False, timeout=120)
        assert done.returncode == 0, f"{command}: {done.returncode}: {done.stderr.decode()}"
        return done.stdout.decode("utf-8", "replace")

    def state(self, part: str = "crm") -> dict[str, Any]:
        text = self.on_host(f"python3 /usr/local/lib/stackpin/host.pyz state {part}")
        state: dict[str, Any] = json.loads(text)
        return state
