"""The `prune` command."""

from __future__ import annotations

from typing import Any

from stackpin.host.errors import refused
from stackpin.host.mutex import mutex
from stackpin.host.pruning import prune
from stackpin.host.stack import Stack

__all__ = ["COMMANDS"]


def prune_command(stack: Stack, payload: dict[str, Any]) -> dict[str, Any]:
    """Remove old releases: prune {keep?, pinned?, dry?} -> {removed: [id], kept: [{id, why}]}.

    keep: how many of the newest stay anyway (default: the stack's keep_releases). pinned: more
    ids or versions to leave. dry: only say what would go.
    """
    keep = int(payload.get("keep", stack.keep_releases))
    if keep < 1:
        raise refused(f"prune: keep is {keep}; expected 1 or more")
    pinned = tuple(str(item) for item in payload.get("pinned") or ())
    with mutex(stack):
        return prune(stack, keep=keep, pinned=pinned, dry=bool(payload.get("dry")))


COMMANDS = {"prune": prune_command}
