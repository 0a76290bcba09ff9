"""The services that use a stack's database: itself, or the members of a keeper."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from stackpin.host import members, pointer
from stackpin.host.drivers import driver
from stackpin.host.gate import evaluate
from stackpin.host.mutex import mutex
from stackpin.host.stack import SLOTS, Stack
from stackpin.host.waiting import Target, wait_healthy, wait_ready

__all__ = ["held", "serve", "stop", "users"]


def users(stack: Stack) -> list[Stack]:
    """List the stacks whose processes use the database, in the order in which they start."""
    return members.installed(stack) if stack.members else [stack]


@contextlib.contextmanager
def held(stack: Stack) -> Iterator[None]:
    """Keep everybody else from changing the stack, or starting one of its members, meanwhile."""
    with contextlib.ExitStack() as taken:
        for one in (stack, *members.installed(stack)):
            taken.enter_context(mutex(one))
        yield


def stop(stack: Stack) -> None:
    """Stop them, those that started last first."""
    for one in reversed(users(stack)):
        driver(one).stop(one, *SLOTS)


def serve(stack: Stack) -> dict[str, Any] | None:
    """Start them one by one, each when the one before is healthy, and return one GateResult.

    None: nothing was ever live. Raises HostError(gate) for the first that does not come.
    """
    gates = [gate for one in users(stack) if (gate := _start(one)) is not None]
    results = [result for gate in gates for result in gate["results"]]
    return evaluate(results, stack.gate.pass_score) if gates else None


def _start(stack: Stack) -> dict[str, Any] | None:
    release, slot = pointer.live_release(stack), pointer.live_slot(stack)
    if release is None or slot is None:
        return None
    began = time.time()
    drv = driver(stack)
    drv.start(stack, slot)
    target = Target(stack, slot, release, since=began)
    wait_ready(target, "restore", stack.start_timeout, lambda: None)
    drv.front(stack, slot)
    healthy = wait_healthy(
        target,
        "restore",
        where={"slot"},
        min_healthy=0.0,
        timeout=stack.gate.timeout,
        still=lambda: None,
    )
    found: dict[str, Any] = healthy["gate"]
    return found
