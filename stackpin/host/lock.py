"""The lease of an operator: who is working on this stack, why, and until when.

Ages and deadlines are this host's own time since its start, so neither operators' clocks nor a
change of this one's matter. After a restart only the wall clock is left to judge by.
"""

from __future__ import annotations

import os
import time
from typing import Any

from stackpin.host import journal
from stackpin.host.clock import boot_id, running_seconds
from stackpin.host.disk import read_json, remove_file, write_json
from stackpin.host.errors import HostError, refused
from stackpin.host.mutex import flock, state_dir
from stackpin.host.stack import Stack

__all__ = ["COMMANDS", "current", "require_token", "shown"]

DEFAULT_TTL = 60.0  # seconds
Payload = dict[str, Any]


def current(stack: Stack) -> Payload | None:
    """Return the lease if it still counts.

    {owner, reason, token, acquired, acquired_running, deadline, deadline_running, boot, ttl}.
    """
    lease = read_json(stack.lock_file)
    return None if lease is None or _left(lease) <= 0 else lease


def _left(lease: Payload) -> float:
    if lease.get("boot") == boot_id():
        return float(lease["deadline_running"]) - running_seconds()
    left = float(lease.get("deadline") or 0) - time.time()
    # More than it was ever given: the clock was set back, and says nothing about this lease.
    return left if left <= float(lease.get("ttl") or DEFAULT_TTL) else 0.0


def _age(lease: Payload) -> float:
    if lease.get("boot") == boot_id():
        return running_seconds() - float(lease["acquired_running"])
    return max(0.0, time.time() - float(lease.get("acquired") or time.time()))


def shown(lease: Payload | None) -> Payload | None:
    """Return what others may see of a lease: everything but its token, with ages in seconds."""
    if lease is None:
        return None
    return {
        "owner": lease.get("owner"),
        "reason": lease.get("reason"),
        "acquired": lease.get("acquired"),
        "deadline": lease.get("deadline"),
        "ttl": lease.get("ttl"),
        "age": round(_age(lease), 1),
        "left": round(_left(lease), 1),
    }


def require_token(stack: Stack, token: object) -> None:
    """Refuse a state-changing command when somebody else holds the lease."""
    lease = current(stack)
    if lease is not None and lease.get("token") != token:
        raise _held(stack, lease)


def acquire(stack: Stack, payload: Payload) -> Payload:
    """lock-acquire {owner, reason, ttl?, token?}: take the lease, or renew one's own."""
    with _alone(stack):
        lease = current(stack)
        token = str(payload.get("token") or os.urandom(16).hex())
        if lease is not None and lease.get("token") != token:
            raise _held(stack, lease)
        return _write(stack, payload, token, older=lease)


def renew(stack: Stack, payload: Payload) -> Payload:
    """lock-renew {token, ttl?}: push the deadline; also after it passed, if nobody took over."""
    gone = f"lock of {stack.name}: the lease is gone (released or stolen)"
    if not stack.state_dir.is_dir():
        raise refused(gone)  # uninstalled: nothing of the stack is made again
    with _alone(stack):
        lease = read_json(stack.lock_file)
        if lease is None:
            raise refused(gone)
        if lease.get("token") != payload.get("token"):
            raise _held(stack, lease)
        ttl = payload.get("ttl") or lease.get("ttl")
        return _write(stack, {**lease, "ttl": ttl}, str(lease["token"]), older=lease)


def release(stack: Stack, payload: Payload) -> Payload:
    """lock-release {token}: give the lease back; {released: false} when there is none of ours."""
    if not stack.state_dir.is_dir():
        return {"released": False, "lock": None}
    with _alone(stack):
        lease = read_json(stack.lock_file)
        if lease is None or lease.get("token") != payload.get("token"):
            return {"released": False, "lock": shown(current(stack))}
        remove_file(stack.lock_file)
        return {"released": True, "lock": None}


def steal(stack: Stack, payload: Payload) -> Payload:
    """lock-steal {owner, reason, ttl?, token?}: take the lease whoever holds it; journaled."""
    with _alone(stack):
        old = current(stack)
        token = str(payload.get("token") or os.urandom(16).hex())
        answer = _write(stack, payload, token, older=None)
        if old is not None and old.get("token") != token:
            journal.append(
                stack,
                "stolen",
                who=payload.get("owner"),
                command="lock-steal",
                reason=payload.get("reason"),
                **{"from": old.get("owner")},
            )
        return {**answer, "stolen_from": shown(old)}


def show(stack: Stack, payload: Payload) -> Payload:  # noqa: ARG001 (all commands look alike)
    """lock-show {}: -> {lock: {owner, reason, acquired, deadline, ttl, age, left} | null}."""
    return {"lock": shown(current(stack))}


def _alone(stack: Stack) -> Any:  # noqa: ANN401 (a context manager of nothing)
    return flock(state_dir(stack) / "lock.mutex", timeout=10.0)


def _write(stack: Stack, payload: Payload, token: str, *, older: Payload | None) -> Payload:
    owner = payload.get("owner")
    if not owner:
        raise refused("lock: `owner` is missing; say who wants it, like alice@desk")
    ttl = float(payload.get("ttl") or DEFAULT_TTL)
    if not 1 <= ttl <= 86400:
        raise refused(f"lock: ttl of {ttl:g} s; expected 1 to 86400")
    now, running = time.time(), running_seconds()
    lease = {
        "owner": str(owner),
        "reason": str(payload.get("reason") or ""),
        "token": token,
        "acquired": (older or {}).get("acquired") or round(now, 3),
        "acquired_running": round(running - (_age(older) if older else 0.0), 3),
        "deadline": round(now + ttl, 3),
        "deadline_running": round(running + ttl, 3),
        "boot": boot_id(),
        "ttl": ttl,
    }
    write_json(stack.lock_file, lease)
    return {"lock": shown(lease), "token": token}


def _held(stack: Stack, lease: Payload) -> HostError:
    view = shown(lease) or {}
    return refused(
        f"stack {stack.name} is locked by {view.get('owner')} for {view.get('age'):.0f} s "
        f"({view.get('reason') or 'no reason given'}); the lease ends in "
        f"{view.get('left'):.0f} s unless renewed: wait, or steal it if that run is dead",
        **view,
    )


COMMANDS = {
    "lock-acquire": acquire,
    "lock-renew": renew,
    "lock-release": release,
    "lock-steal": steal,
    "lock-show": show,
}
