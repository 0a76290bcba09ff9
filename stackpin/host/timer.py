"""The guard's alarm clock: pending.json, and the systemd timer that fires at its deadline."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from stackpin.host import runs
from stackpin.host.clock import boot_id, running_seconds
from stackpin.host.disk import write_json
from stackpin.host.errors import failed
from stackpin.host.stack import Stack
from stackpin.host.system import run as run_program

__all__ = ["arm", "disarm", "timer_name"]

INSTALLED = Path("/usr/local/lib/stackpin/host.pyz")


def timer_name(stack: Stack, token: str) -> str:
    """Name the transient units of one guard, without suffix."""
    return f"stackpin-guard-{stack.name}-{token[:8]}"


def arm(stack: Stack, run: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Arm the way back, durably, and return pending.json; call under the mutex.

    From here on the host reverts by itself after `seconds`, or at its next start. An older guard
    of the same run is replaced, without a moment between the two. Raises HostError(error), with
    nothing new armed, when systemd will not.
    """
    older = runs.load_pending(stack)
    token = os.urandom(16).hex()
    pending = {
        "token": token,
        "run": run["run"],
        "from": run["from_release"],
        "to": run["release"],
        "deadline": round(time.time() + seconds, 3),
        "deadline_running": round(running_seconds() + seconds, 3),
        "boot": boot_id(),
    }
    name = timer_name(stack, token)
    # The timer first: killed in between, it finds no token of its own and an older guard, if there
    # is one, still holds. The other way round the token would be one that no timer knows.
    run_program(
        [
            "systemd-run",
            "--collect",
            f"--unit={name}",
            f"--description=Take stack {stack.name} back unless it is confirmed",
            f"--on-active={seconds:.3f}s",
            "--timer-property=AccuracySec=100ms",
            # Killed or failed (disk full, say): the way back is tried again.
            "--property=Restart=on-failure",
            "--property=RestartSec=2",
            "--property=StartLimitIntervalSec=0",
            sys.executable or "/usr/bin/python3",
            str(_program()),
            "guard",
            stack.name,
            token,
        ],
        timeout=30,
    )
    try:
        run_program(["systemctl", "is-active", f"{name}.timer"])
        write_json(stack.pending_file, pending)
    except BaseException:
        disarm(stack, token)
        raise
    if older is not None:
        disarm(stack, str(older["token"]))
    return pending


def disarm(stack: Stack, token: str) -> None:
    """Stop a guard's timer; pending.json is the caller's business. Never fails."""
    # Only the timer: its service may be the very process that runs this.
    run_program(["systemctl", "stop", f"{timer_name(stack, token)}.timer"], check=False, timeout=30)


def _program() -> Path:
    own = Path(sys.argv[0]).resolve()
    program = INSTALLED if INSTALLED.is_file() else own
    if program.suffix != ".pyz":
        raise failed(
            f"{INSTALLED}: not found, so the guard could not run; install the host program first"
        )
    return program
