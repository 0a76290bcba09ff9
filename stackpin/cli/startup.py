"""What makes a command start fast."""

from __future__ import annotations

import functools
import gc
import sys
from importlib import util
from typing import Any

__all__ = ["prepare_imports"]

ALLOCATIONS = 50_000


def prepare_imports() -> None:
    """Make importing all that a command needs cheaper; to be called before it is imported."""
    # Importing makes some 400,000 objects that stay: looking for garbage among them every 700 takes
    # a tenth of the time.
    gc.set_threshold(ALLOCATIONS, 20, 20)
    _remember_entry_points()
    _lazily("invoke")


def _lazily(name: str) -> None:
    """Have a module run when it is used first, and not when it is imported.

    paramiko imports invoke for one word of ssh_config, `Match exec`.
    """
    spec = util.find_spec(name)
    if name in sys.modules or spec is None or spec.loader is None:
        return
    spec.loader = util.LazyLoader(spec.loader)
    module = util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


@functools.cache  # once in a process
def _remember_entry_points() -> None:
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
