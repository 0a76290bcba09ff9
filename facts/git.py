"""Git work trees."""

# ruff: noqa: D102 - what default, command and process do is told once, by pyinfra
from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath

from pyinfra.api.facts import FactBase


@dataclass(frozen=True)
class WorkTreeInfo:
    """What is known about a path that should be the top of a Git work tree.

    `top` is the work tree Git finds there (None: Git finds none, or is not installed, in which
    case `marker` says whether a `.git` with HEAD and objects lies there).
    """

    kind: str  # absent | directory | other
    owner: str = ""
    group: str = ""
    real: str = ""
    marker: bool = False
    git: bool = False
    top: str | None = None
    foreign: str | None = None  # the first path below that someone else owns
    closed: str | None = None  # the outermost folder above that not everyone may pass through

    @property
    def is_work_tree(self) -> bool:
        """True when the path itself, not a folder above it, is a Git work tree."""
        if self.kind != "directory":
            return False
        return self.top == self.real if self.git else self.marker


class WorkTree(FactBase[WorkTreeInfo]):
    """The Git work tree at `path`; `user` is who should own all of it."""

    @staticmethod
    def default() -> WorkTreeInfo:
        return WorkTreeInfo("absent")

    def command(self, path: str, user: str) -> str:
        p, u = shlex.quote(path), shlex.quote(user)
        above = [str(parent) for parent in reversed(PurePosixPath(path).parents)]
        parents = " ".join(shlex.quote(parent) for parent in above)
        # safe.directory=*: we only ask where the top is; hooks and filters do not run for that.
        return (
            f"find -H {parents} -maxdepth 0 ! -perm -001 -printf 'closed=%p\\n' -quit 2>/dev/null;"
            f" if [ -d {p} ]; then echo kind=directory; stat -c 'owner=%U' {p};"
            f" stat -c 'group=%G' {p}; echo real=$(readlink -f {p});"
            f" if [ -f {p}/.git ] || {{ [ -f {p}/.git/HEAD ] && [ -d {p}/.git/objects ]; }};"
            " then echo marker=1; fi;"
            " if command -v git >/dev/null; then echo git=1;"
            f" git -c safe.directory='*' -C {p} rev-parse --show-toplevel 2>/dev/null"
            " | sed 's/^/top=/'; fi;"
            f" if id -u {u} >/dev/null 2>&1; then"
            f" find {p} -xdev ! -user {u} -printf 'foreign=%p\\n' -quit 2>/dev/null;"
            f" fi; elif [ -e {p} ]; then echo kind=other; fi; true"
        )

    def process(self, output: list[str]) -> WorkTreeInfo:
        values = dict(line.split("=", 1) for line in output if "=" in line)
        return WorkTreeInfo(
            kind=values.get("kind", "absent"),
            owner=values.get("owner", ""),
            group=values.get("group", ""),
            real=values.get("real", ""),
            marker="marker" in values,
            git="git" in values,
            top=values.get("top"),
            foreign=values.get("foreign"),
            closed=values.get("closed"),
        )
