"""Unix accounts."""

# ruff: noqa: D102 - what default, command and process do is told once, by pyinfra
from __future__ import annotations

import shlex
from dataclasses import dataclass

from pyinfra.api.facts import FactBase


@dataclass(frozen=True)
class AccountInfo:
    """A line of the passwd database; `group` is the primary one, `groups` are all."""

    name: str
    uid: int
    group: str
    home: str
    shell: str
    groups: tuple[str, ...] = ()


class Account(FactBase[AccountInfo | None]):
    """The account called `user`, or None."""

    @staticmethod
    def default() -> AccountInfo | None:
        return None

    def command(self, user: str) -> str:
        name = shlex.quote(user)
        return f"getent passwd {name} && id -gn {name} && id -Gn {name} || true"

    def process(self, output: list[str]) -> AccountInfo | None:
        if len(output) < 2:
            return None
        name, _password, uid, _gid, _gecos, home, shell = output[0].split(":")[:7]
        groups = tuple(" ".join(output[2:]).split())
        return AccountInfo(name, int(uid), output[1].strip(), home, shell, groups)
