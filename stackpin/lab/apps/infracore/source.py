"""The reference InfraCore as a Git repository with a tag per release, to build artifacts from.

What BUILD makes of a tag is, byte for byte, what `build.py` writes for that version.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from stackpin.errors import StackpinError
from stackpin.lab.apps import packing
from stackpin.lab.apps.infracore.build import ALL, UI, sources, ui_files

__all__ = ["BUILD", "OUTPUTS", "write_repo"]

BUILD = ("python3 build.py", "npm --prefix ui ci", "npm --prefix ui run build")
"""The commands, run in the top directory of the repository; each needs no shell."""
OUTPUTS = ("bin", "ui/dist")

FILES = Path(__file__).parent / "files"
TOP = {"build.py": "build", "README.md": "README.md", ".gitignore": "gitignore"}
"""Path in the repository -> file in `files/`."""
# Nobody's Git configuration takes part, and the commits have the same ids on every machine.
ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "InfraCore",
    "GIT_AUTHOR_EMAIL": "build@infracore.example",
    "GIT_AUTHOR_DATE": "2025-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "InfraCore",
    "GIT_COMMITTER_EMAIL": "build@infracore.example",
    "GIT_COMMITTER_DATE": "2025-01-01T00:00:00Z",
}


def write_repo(path: Path, versions: Sequence[str] = ALL) -> dict[str, str]:
    """Make a repository at `path`, with a commit and a tag per version; return tag -> commit."""
    path.mkdir(parents=True, exist_ok=True)
    _git(path, "init", "--quiet", "--initial-branch=main")
    commits = {}
    for version in versions:
        for name, content in tree(version).items():
            packing.replace_file(path / name, content)
        _git(path, "add", "--all")
        _git(path, "commit", "--quiet", "--message", f"InfraCore {version}")
        _git(path, "tag", version)
        commits[version] = _git(path, "rev-parse", "HEAD")
    return commits


def tree(version: str) -> dict[str, bytes]:
    """Return path -> content of every file of this version's sources."""
    files = {name: text.encode() for name, text in sources(version).items()}
    files |= {f"ui/{path.relative_to(UI)}": path.read_bytes() for path in ui_files()}
    files["packing.py"] = Path(packing.__file__).read_bytes()
    for name, source in TOP.items():
        files[name] = (FILES / source).read_bytes()
    return files


def _git(path: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(path), *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), **ENVIRONMENT},
    )
    if done.returncode != 0:
        raise StackpinError(f"git {arguments[0]} in {path}: {done.stderr.strip()}")
    return done.stdout.strip()
