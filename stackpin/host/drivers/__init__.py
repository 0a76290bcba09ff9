"""How the slots of a stack are made, started and shown: one module for each kind of stack.

A slot is a systemd unit (kind slots), a container (container) or a compose service (compose, on a
network of its own or on the host's). The journal, the guard and the stages are the same for all;
they only ever speak to this protocol.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Protocol, cast

from stackpin.host.stack import Stack

__all__ = ["Driver", "driver"]

Still = Callable[[], object]
_MODULES = {"slots": "systemd", "container": "container", "compose": "compose"}


class Driver(Protocol):
    """What a driver's module offers. `slot` is blue or green; all may raise HostError.

    Every function may be killed at any point and called again: it looks at what is there, found
    by labels or unit names, never at what was planned.
    """

    def show(self, stack: Stack, slots: tuple[str, ...]) -> dict[str, dict[str, Any]]:
        """Return {slot: {active, sub, main_pid, started, restarts, result, job, ...}}.

        active: active, activating, inactive or failed. Containers add {id, name, image, digest,
        health, release, spec}: image is the reference it was made from, digest its "sha256:...".
        """

    def install(self, stack: Stack, slot: str, release: str) -> None:
        """Link a stopped slot to a release and make ready what `start` starts."""

    def start(self, stack: Stack, slot: str) -> None:
        """Begin to start a slot; readiness is asked of its address."""

    def stop(self, stack: Stack, *slots: str) -> None:
        """Stop slots, wait until they are gone, and keep them: they may be started again."""

    def remove(self, stack: Stack, slot: str) -> None:
        """Take away a stopped slot nobody goes back to."""

    def front(self, stack: Stack, slot: str) -> None:
        """Direct names and traffic to a slot that is ready, after the slot file was flipped."""

    def address(self, stack: Stack, slot: str) -> tuple[str, int] | None:
        """Return (host, port) of a slot; None: it has no port, or none yet."""

    def pull(self, stack: Stack, release: str) -> dict[str, Any]:
        """Make sure that everything a release needs is on this host."""

    def last_log(
        self,
        stack: Stack,
        slot: str,
        env: dict[str, str],
        since: float | None = None,
        lines: int = 20,
    ) -> list[str]:
        """Return a slot's last log lines, secrets of `env` masked; since: unix seconds."""

    def require_free(self, stack: Stack, slot: str) -> None:
        """Raise HostError when something that is not this stack's holds the slot's port or name."""

    def installed(self, stack: Stack, slot: str) -> bool:
        """Tell whether `start` finds what it starts."""

    def connections(self, stack: Stack, slot: str) -> int:
        """Count the connections clients have with a slot."""

    def place(self, stack: Stack, slot: str) -> str:
        """Name a slot as an operator would look for it."""

    def changed(self, stack: Stack, slot: str, release: str) -> list[str]:
        """Name what a running slot was made from and is not so any more; [] for none."""

    def rehearse(self, stack: Stack, release: str, still: Still) -> dict[str, Any]:
        """Try a release without touching what is live."""

    def clean(self, stack: Stack) -> None:
        """Remove what a killed rehearsal left."""


def driver(stack: Stack) -> Driver:
    """Return the driver of a stack's kind. Not for static stacks: they have no slots."""
    module = _MODULES[stack.kind]
    if stack.kind == "compose" and stack.compose.get("host_network"):
        module = "compose_host"
    return cast("Driver", importlib.import_module(f"stackpin.host.drivers.{module}"))
