"""All stages in one command, confirmed by the host itself: what stock pyinfra uses."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

from stackpin.host import guard, pointer, releases, runs, stages, stages_live
from stackpin.host.drivers import driver
from stackpin.host.errors import HostError, broken, gate_failed, refused
from stackpin.host.progress import say
from stackpin.host.stack import Stack

__all__ = ["COMMANDS", "rollout"]

Payload = dict[str, Any]
Handler = Callable[[Stack, Payload], Payload]

STAGES: dict[str, Handler] = {
    "rehearse": stages.rehearse,
    "start": stages.start,
    "gate": stages.gate,
    "switch": stages_live.switch,
    "probe": stages_live.probe,
    "confirm": stages_live.confirm,
    "retire": stages_live.retire,
}


def rollout(stack: Stack, payload: Payload) -> Payload:
    """Make a release live: rollout {release, who, reason, command?, rehearse?, min_healthy?,
    force?} -> {changed, run, release, from, slot, stages: {stage: its answer}}.

    Nothing is done when it is live and runs already, unless `force`. Raises HostError: gate (the
    old release serves, proven; or it was the first one), broken (it could not be proven).
    """
    release = str(payload.get("release") or "")
    if not releases.exists(stack, release):
        raise refused(
            f"release {release!r}: not complete in {stack.releases_dir}; send it with `receive`"
        )
    guard.recover_stale(stack)
    open_run = runs.load(stack)
    if not payload.get("force") and runs.ended(open_run) and is_live(stack, release):
        return {"changed": False, "release": release, "run": None}
    run_id = str(payload.get("run") or f"self-{os.urandom(6).hex()}")
    begun = stages.begin(
        stack,
        {
            "run": run_id,
            "release": release,
            "who": payload.get("who"),
            "reason": payload.get("reason"),
            "command": payload.get("command") or "deploy",
            "mode": "self",
            "rehearse": payload.get("rehearse"),
            "min_healthy": payload.get("min_healthy"),
        },
    )
    answers: Payload = {}
    for name, stage in STAGES.items():
        say(f"{stack.name}: {name}")
        request = {"run": run_id, "token": answers.get("switch", {}).get("token")}
        try:
            answers[name] = stage(stack, request)
        except BaseException as error:
            if name == "retire":
                raise  # the new release is confirmed: nothing to take back
            raise _taken_back(stack, run_id, name, error) from error
    run = begun["run"]
    return {
        "changed": True,
        "run": run_id,
        "release": release,
        "from": run["from_release"],
        "slot": run["to_slot"],
        # The token has done its work; nobody else needs to see one.
        "stages": {n: {k: v for k, v in a.items() if k != "token"} for n, a in answers.items()},
    }


def is_live(stack: Stack, release: str) -> bool:
    """Tell whether a release serves already, with its process running."""
    if pointer.live_release(stack) != release:
        return False
    slot = pointer.live_slot(stack)
    if slot is None:
        return True
    drv = driver(stack)
    running = drv.show(stack, (slot,))[slot]["active"] == "active"
    return running and not drv.changed(stack, slot, release)


def _taken_back(stack: Stack, run_id: str, stage: str, error: BaseException) -> BaseException:
    why = error.message if isinstance(error, HostError) else f"{type(error).__name__}: {error}"
    back: Payload = {}
    with contextlib.suppress(HostError):
        # Refused means the guard was first: then the record below tells.
        back = guard.abort(stack, {"run": run_id, "reason": why})
    back = back or runs.load(stack) or {}
    detail = dict(error.detail) if isinstance(error, HostError) else {}
    told = {key: back.get(key) for key in ("serving", "proven", "first")}
    detail.update(run=run_id, stage=stage, **told)
    if not isinstance(error, Exception):
        return error
    if back.get("proven"):
        return gate_failed(f"{why}; {back.get('serving')} serves and is healthy", **detail)
    if back.get("first") and back.get("stage") != "broken":
        return gate_failed(f"{why}; nothing was installed before, nothing serves", **detail)
    return broken(f"{why}; whether {back.get('serving')} serves could not be proven", **detail)


COMMANDS = {"rollout": rollout}
