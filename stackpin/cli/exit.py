"""The one table of exit codes, and how an error becomes a message and a code."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, NoReturn

from stackpin.cli.startup import prepare_imports
from stackpin.errors import StackpinError
from stackpin.terminal import hang_up, heeded

if TYPE_CHECKING:
    from stackpin.cli.output import Output

__all__ = ["Exit", "run_command"]


class Exit(IntEnum):
    """What the exit status of every `stackpin` command means."""

    OK = 0
    ERROR = 1
    CHANGES = 2
    REFUSED = 3
    ROLLED_BACK = 4
    BROKEN = 5
    INTERRUPTED = 130


MEANING: dict[Exit, str] = {
    Exit.OK: "done, or already in sync",
    Exit.ERROR: "error",
    Exit.CHANGES: "drift or problems found, or changes pending",
    Exit.REFUSED: "refused before anything was touched",
    Exit.ROLLED_BACK: "gate failed, rolled back, the old version is proven serving",
    Exit.BROKEN: "gate failed and the rollback failed or is unknown, or verify fails: look now",
    Exit.INTERRUPTED: "interrupted",
}


def run_command(out: Output, body: Callable[[], int | None]) -> NoReturn:
    """Run `body`, print its outcome through `out`, and leave with the code it stands for.

    `body` returns an exit code (None means 0) or raises; errors of Stackpin carry their own code,
    anything else is a defect of ours: exit 1, one line, and the traceback with --debug only.
    """
    code: int
    try:
        # Without this a terminated run, or one whose terminal was closed, would skip its `finally`
        # blocks: pins, locks and slots stay.
        for number in (signal.SIGTERM, signal.SIGHUP):
            if heeded(number):
                signal.signal(number, _interrupt)
        prepare_imports()
        code = int(body() or Exit.OK)
    except StackpinError as error:
        code = error.exit_code
        out.error(str(error), kind=type(error).__name__, detail=getattr(error, "detail", None))
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
        out.error("interrupted", kind="Interrupted")
    except BrokenPipeError:
        code = Exit.ERROR
        # The reader went away; nothing may be written to it at interpreter exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:  # the last wall before the user: no traceback unless asked for
        code = Exit.ERROR
        out.error(f"unexpected {type(error).__name__}: {error}", kind="Unexpected")
        if out.debug:
            out.line("".join(traceback.format_exception(error)))
        else:
            out.line("Run it again with --debug to see where, and please report it.")
    out.close(code)
    sys.stdout.flush()
    sys.exit(code)


def _interrupt(signum: int, _frame: object) -> None:
    hang_up(signum)
    raise KeyboardInterrupt
