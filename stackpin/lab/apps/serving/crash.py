"""A crash on purpose, for releases that have it as their fault."""

import os
import sys
import threading

__all__ = ["crash_after"]


def crash_after(seconds: float, message: str) -> None:
    """End the process with exit code 2, so many seconds from now, in the middle of its work."""

    def crash() -> None:
        sys.stderr.write(f"{message}\n")
        sys.stderr.flush()
        os._exit(2)

    timer = threading.Timer(seconds, crash)
    timer.daemon = True
    timer.start()
