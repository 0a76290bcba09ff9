"""The user's own programs, run before a stage: hooks/<stage> in the working directory."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from stackpin.errors import StackpinError
from stackpin.rollout.model import Run

__all__ = ["HookFailed", "call_hook"]

TIMEOUT = 600


class HookFailed(StackpinError):  # noqa: N818 - reads as what happened
    """A hook ended with a status other than 0: the run is not to go on."""


def call_hook(run: Run, stage: str, hosts: Sequence[str], part: str = "") -> None:
    """Run hooks/<stage> if it is there and executable.

    It gets STACKPIN_STAGE, _RUN, _INVENTORY, _STACK (the part at work), _HOSTS (space separated),
    _VERSION and _PID. Raises HookFailed when it does not end with 0 within ten minutes.
    """
    path = run.request.hooks / stage
    if not (path.is_file() and os.access(path, os.X_OK)):
        return
    environment = {
        **os.environ,
        "STACKPIN_STAGE": stage,
        "STACKPIN_RUN": run.id,
        "STACKPIN_INVENTORY": run.request.inventory,
        "STACKPIN_STACK": part or run.request.stack.name,
        "STACKPIN_HOSTS": " ".join(hosts),
        "STACKPIN_VERSION": run.versions(),
        "STACKPIN_PID": str(os.getpid()),
    }
    try:
        done = subprocess.run(
            [str(path.absolute())],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HookFailed(f"{path}: {error}") from error
    finally:
        # It may have changed any host, past all that is remembered of them.
        for memory in run.opened.gathering.memories.values() if run.opened else ():
            memory.forget()
    for line in done.stdout.splitlines():
        run.progress.say(f"{path}: {line}")
    if done.returncode != 0:
        told = done.stderr.strip()[-500:] or "no message"
        raise HookFailed(f"{path} ended with status {done.returncode}: {told}")
