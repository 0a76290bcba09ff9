"""Making the artifacts of a stack without a deploy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from operations.refusals import builds_nothing
from stackpin.artifacts import Resolved, Say, resolve
from stackpin.config.stacks import Stack
from stackpin.config.types import is_release_tag
from stackpin.engine.state import load_inventory
from stackpin.errors import Refused
from stackpin.rollout.checking import check_inventory

__all__ = ["made"]


def made(  # noqa: PLR0917 - the first four as check_inventory has them
    path: str,
    stack: Stack,
    limit: Sequence[str],
    data: Mapping[str, Any],
    version: str | None,
    progress: Say,
) -> list[tuple[str, Resolved]]:
    """Return every artifact the hosts of an inventory need, each once, with its version.

    `version` takes the place of the pin. Raises Refused, also for a stack that ships none.
    """
    if version is not None:
        data = {**data, _variable(stack): _tag(version)}
    settings = check_inventory(path, stack, limit, data, artifacts=False).settings
    production = builds_nothing(load_inventory(path, data))
    wanted = {}
    for one in (one for parts in settings.values() for one in parts.values()):
        source = one.source()
        if source is not None:
            pinned = str(getattr(one, "version", ""))
            wanted[source.at(pinned).model_dump_json()] = (source, pinned)
    if not wanted:
        raise Refused(f"{stack.name}: found no artifact in its settings, expected one to make.")
    return [
        (pinned, resolve(source, pinned, Path.cwd(), progress=progress, production=production))
        for source, pinned in wanted.values()
    ]


def _variable(stack: Stack) -> str:
    if stack.version_variable is None:
        raise Refused(f"--version: stack {stack.name} pins no version. Leave it out.")
    return stack.version_variable


def _tag(version: str) -> str:
    if not is_release_tag(version):
        raise Refused(f"--version: found {version!r}, expected a release tag vX.Y.Z.")
    return version
