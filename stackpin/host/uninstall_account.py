"""The service account that goes with a stack, where it was made for that stack alone."""

from __future__ import annotations

import grp
import pwd
from collections.abc import Iterable
from pathlib import Path

from stackpin.host.stack import Stack

__all__ = ["listed"]


def listed(stack: Stack, others: Iterable[str]) -> list[dict[str, str]]:
    """Return [{user, why}] if the account is plainly the stack's alone; `others` stay here."""
    if not stack.installed or stack.user == "root":
        return []
    try:
        account = pwd.getpwnam(stack.user)
        group = grp.getgrgid(account.pw_gid)
    except KeyError:
        return []
    made_for_it = (
        0 < account.pw_uid < 1000  # 1000 and up are people
        and account.pw_dir == "/nonexistent"
        and Path(account.pw_shell).name in {"nologin", "false"}
        and group.gr_name == stack.user
    )
    if not made_for_it or any(_may_use(other, stack.user) for other in others):
        return []
    return [{"user": stack.user, "why": "service account of the stack"}]


def _may_use(other: str, user: str) -> bool:
    try:
        return Stack.load(other).user == user
    except Exception:
        return True  # its settings cannot be read, so it counts as a user of everything
