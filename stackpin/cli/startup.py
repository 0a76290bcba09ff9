"""What makes a command start fast."""

from __future__ import annotations

import functools
from typing import Any

__all__ = ["remember_entry_points"]


@functools.cache  # once in a process
def remember_entry_points() -> None:
    """Have the entry points of all installed packages read once in this process.

    gevent looks for some 25 times while it patches the standard library, and pyinfra twice for
    each inventory. Each time the metadata of every package is read: a third of a command's CPU
    time, for something that does not change under it.
    """
    from importlib import metadata  # noqa: PLC0415 - not for --help

    everything = functools.cache(metadata.entry_points)

    def entry_points(**wanted: Any) -> Any:  # noqa: ANN401 - as the function it stands for
        return everything().select(**wanted) if wanted else everything()

    metadata.entry_points = entry_points
