"""Bringing images to every host before the first one is touched."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stackpin.config.common import StackSettings
from stackpin.config.fields import RegistryFields
from stackpin.errors import Refused
from stackpin.rollout.model import Roll, Run
from stackpin.secrets import resolver

__all__ = ["pull", "registry"]

# One host on a slow line; all pull at the same time.
TIMEOUT = 1800.0


def pull(run: Run) -> Run:
    """Pull the wanted images on all hosts that ran this stack before; nothing is switched.

    Others have no Docker, or not its settings, before their files are applied: they pull then.
    Hosts that cannot pull are left out of the run; raises Refused when these are more than may
    fail, or when one of them is the host that judges the others.
    """
    rolls = [roll for roll in run.rolls if _pulls(run, roll)]
    for part in dict.fromkeys(roll.part for roll in rolls):
        run.progress.stage("pull", [roll.host for roll in rolls if roll.part == part], part)
    by_host = {roll.host: roll for roll in rolls}
    errors = run.session.map(lambda host: _pull(run, by_host[host]), list(by_host)).errors
    for host, error in errors.items():
        roll = by_host[host]
        roll.outcome, roll.code, roll.error = "failed", 1, str(error) or type(error).__name__
        roll.detail = dict(getattr(error, "detail", {}))
    if run.lease:
        run.lease.excuse(errors)
    needed = {part.witness for part in run.request.stack.components()}
    if run.failures > run.request.max_failures or any(by_host[h].part in needed for h in errors):
        raise Refused(_told(errors, [roll.host for roll in rolls]))
    return run


def registry(settings: StackSettings, host: str) -> dict[str, Any]:
    """Return what a host needs to log in: {host, username, password, ca (PEM or None)}."""
    assert isinstance(settings, RegistryFields)  # noqa: S101 - only these have images
    reference = settings.registry_password
    ca = settings.registry_ca
    return {
        "host": settings.registry,
        "username": settings.registry_username,
        "password": resolver(settings, host)(reference).get_secret_value() if reference else None,
        "ca": Path(ca).read_text(encoding="utf-8") if ca else None,
    }


def _pulls(run: Run, roll: Roll) -> bool:
    images = run.images.get(roll.host, {}).get(roll.part)
    return bool(images) and roll.outcome == "pending" and roll.switches and roll.now is not None


def _pull(run: Run, roll: Roll) -> None:
    def line(text: str) -> None:
        run.progress.host(roll.host, "pull", "line", text)

    settings = run.settings[roll.host][roll.part]
    begun = time.monotonic()
    roll.stage = "pull"
    run.progress.host(roll.host, "pull", "run")
    try:
        run.session.call(
            roll.host,
            "pull",
            roll.part,
            {
                "images": sorted(set(run.images[roll.host][roll.part].values())),
                "registry": registry(settings, roll.host),
            },
            timeout=TIMEOUT,
            on_line=line,
        )
    except Exception as error:
        run.progress.host(roll.host, "pull", "fail", str(error))
        raise
    roll.timings.append({"stage": "pull", "seconds": round(time.monotonic() - begun, 3)})
    run.progress.host(roll.host, "pull", "ok")


def _told(errors: dict[str, Exception], hosts: Sequence[str]) -> str:
    lines = list(dict.fromkeys(str(error) for error in errors.values()))
    return "\n".join(
        [
            *lines,
            f"images could not be pulled on {len(errors)} of {len(hosts)} host(s): nothing was "
            "switched anywhere. Correct this, or allow for it with --max-failures.",
        ]
    )
