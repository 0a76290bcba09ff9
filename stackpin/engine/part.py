"""Which part of a stack a deploy file is to declare, where one file serves several parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["current", "loading"]

_part: str | None = None


def current() -> str | None:
    """Return the part whose deploy files are being loaded.

    None under stock pyinfra, which knows no parts: the file then declares all of them, in order.
    """
    return _part


@contextmanager
def loading(part: str) -> Iterator[None]:
    """Let `current` say `part`. Deploy files are loaded for one part at a time, for all hosts."""
    global _part  # noqa: PLW0603 - deploy files take no arguments
    before, _part = _part, part
    try:
        yield
    finally:
        _part = before
