"""A scratch project beside the clone: its own inventories to bump, the clone's everything else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = ("deploys", "templates", "portal", "artifacts")
QUICK_GATE = {
    "settle": 0.5, "min_healthy": 2.0, "interval": 0.5, "consecutive": 2, "timeout": 30.0,
}  # fmt: skip


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        """The document of a command run with --json."""
        return json.loads(self.out)

    def expect(self, code: int) -> Ran:
        """Fail with all output unless the command ended with `code`."""
        assert self.code == code, f"exit {self.code}, expected {code}\n{self.out}\n{self.err}"
        return self


@dataclass
class Project:
    """One host, and a `stackpin` that is run in a folder of its own."""

    folder: Path
    host: str
    data: dict[str, object] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path, host: str, **data: object) -> Project:
        """Copy the inventories, link the rest; `data` overrides variables in every command."""
        shutil.copytree(REPOSITORY / "inventories", folder / "inventories", symlinks=True)
        for name in SHARED:
            (folder / name).symlink_to(REPOSITORY / name)
        return cls(folder, host, {"crm_gate": QUICK_GATE, "crm_drain_seconds": 3, **data})

    @property
    def pins(self) -> Path:
        """The file with the lab's pins."""
        return self.folder / "inventories" / "group_data" / "lab.py"

    def argv(self, command: str, stack: str, *words: str) -> list[str]:
        """Build the command line of `stackpin COMMAND inventories/lab STACK WORDS…`."""
        line = [sys.executable, "-m", "stackpin", *command.split(), "inventories/lab", stack]
        line += ["--limit", self.host, *words]
        for name, value in self.data.items():
            line += ["--data", f"{name}={json.dumps(value)}"]
        return line

    def stackpin(self, command: str, stack: str, *words: str, timeout: float = 300) -> Ran:
        """Run a command to its end."""
        done = subprocess.run(
            self.argv(command, stack, *words),
            cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False, timeout=timeout,
        )  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr)
