"""Ansible and Mitogen, in an environment of their own: the project does not depend on them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

from stackpin.lab import Lab

__all__ = ["NotInstalledError", "ansible_programs", "versions"]

REQUIREMENTS = Path(__file__).with_name("requirements.txt")


class NotInstalledError(Exception):
    """pip said why."""


def ansible_programs(lab: Lab) -> Path:
    """Return the folder of Ansible's programs, installed into the lab's cache on first use."""
    key = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:12]
    home = lab.paths.cache / f"peers-{key}"
    home.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lab.paths.cache / "build.lock"):
        # Its programs hold its path: it cannot be built elsewhere and renamed.
        ready = home / "ready"
        if not ready.exists():
            _run(sys.executable, "-m", "venv", "--clear", str(home))
            _run(str(home / "bin/pip"), "install", "-q", "--no-deps", "-r", str(REQUIREMENTS))
            ready.touch()
    return home / "bin"


def _run(*argv: str) -> None:
    # Not in the project's folder, whose files pip could take for packages.
    done = subprocess.run(
        argv, cwd=tempfile.gettempdir(), capture_output=True, text=True, check=False, timeout=600
    )
    if done.returncode != 0:
        raise NotInstalledError((done.stderr or done.stdout).strip()[-500:])


def versions() -> str:
    """Say which versions are compared with."""
    pins = dict(line.split("==") for line in REQUIREMENTS.read_text().splitlines() if "==" in line)
    return (
        f"ansible-core {pins['ansible-core']}, Mitogen {pins['mitogen']}, "
        f"pyinfra {version('pyinfra')}"
    )
