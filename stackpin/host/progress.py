"""Lines for the human who watches: standard error, and never a reason to fail."""

from __future__ import annotations

import contextlib
import sys

__all__ = ["say"]


def say(text: str) -> None:
    """Write one progress line; a reader that went away (cut SSH connection) is no error."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
