"""How a run tells what it is doing; the command line decides how that looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

__all__ = ["Progress", "Silent"]


class Progress(Protocol):
    """Receives events as they happen."""

    def stage(self, name: str, hosts: Sequence[str], part: str = "") -> None:
        """Tell that a stage begins, on `hosts` (none: on this machine)."""

    def host(self, host: str, stage: str, state: str, text: str = "") -> None:
        """Tell that a host moved on; `state` is run, ok, skip, line (a progress line) or fail."""

    def say(self, text: str) -> None:
        """Tell something worth a line."""


class Silent:
    """Progress for nobody."""

    def stage(self, name: str, hosts: Sequence[str], part: str = "") -> None:
        """Do nothing."""

    def host(self, host: str, stage: str, state: str, text: str = "") -> None:
        """Do nothing."""

    def say(self, text: str) -> None:
        """Do nothing."""
