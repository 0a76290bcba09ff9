"""What makes a command start fast."""

from __future__ import annotations

import atexit
import functools
import gc
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

__all__ = ["prepare_imports"]

ALLOCATIONS = 50_000


def prepare_imports() -> None:
    """Make importing all that a command needs cheaper, and its end, too; to be called first."""
    # Nearly all objects that imports make stay: looking for garbage among them every 700 new ones
    # takes time and finds none.
    gc.set_threshold(ALLOCATIONS, 20, 20)
    # And nobody needs them looked through once more when the process ends.
    atexit.register(gc.freeze)
    _remember_entry_points()
    # For a "Match exec" in the user's SSH configuration only; it brings a YAML reader, and more.
    _put_off("invoke")


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


def _put_off(name: str) -> None:
    """Have the module `name` imported when something of it is first used."""
    if name not in sys.modules:
        sys.modules[name] = _Later(name)


class _Later(ModuleType):
    def __getattr__(self, attribute: str) -> Any:  # noqa: ANN401 - whatever the module has
        if attribute.startswith("__"):  # whoever looks at all modules does not use this one
            raise AttributeError(attribute)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), attribute)
