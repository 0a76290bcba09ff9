"""The stacks whose data one stack keeps: services that share a database and a tree of files.

The keeper is a static stack. Its backup is theirs, too, and its trees stay while they need them.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from stackpin.host import pointer
from stackpin.host.errors import HostError
from stackpin.host.stack import Stack

__all__ = ["has_keeper", "in_use", "installed", "needed_trees"]


def installed(stack: Stack) -> list[Stack]:
    """List the members on this host, in the order in which they start."""
    return [member for name in stack.members if (member := Stack.load(name)).installed]


def in_use(stack: Stack) -> list[Path]:
    """List the directories of the live releases of a keeper and its members; [] for others."""
    if not stack.members:
        return []
    found = [(one, pointer.live_release(one)) for one in (stack, *installed(stack))]
    return [one.release_dir(release) for one, release in found if release is not None]


def needed_trees(stack: Stack) -> dict[str, str]:
    """Return {release of the keeper: why} of the trees that releases of members name by path."""
    tree = re.compile(re.escape(f"{stack.opt}/releases/") + r"([A-Za-z0-9][A-Za-z0-9._+-]*)")
    needed = {}
    for member in installed(stack):
        for text in sorted(member.releases_dir.glob(f"[!.]*/{member.spec_name}")):
            for release in tree.findall(text.read_text(encoding="utf-8", errors="replace")):
                needed[release] = f"{member.name} {text.parent.name} needs it"
    return needed


def has_keeper(stack: Stack) -> bool:
    """Tell whether another stack of this host keeps this one's data."""
    for settings in stack.settings_dir.parent.glob("*/stack.json"):
        with contextlib.suppress(HostError):
            if stack.name in Stack.load(settings.parent.name).members:
                return True
    return False
