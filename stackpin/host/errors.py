"""The one exception the host program reports, and the exit status of each kind."""

from __future__ import annotations

from typing import Any, Literal

__all__ = ["EXIT_CODES", "HostError", "Kind", "broken", "failed", "gate_failed", "refused"]

Kind = Literal["error", "refused", "gate", "broken"]

EXIT_CODES: dict[Kind, int] = {"error": 1, "refused": 3, "gate": 4, "broken": 5}


class HostError(Exception):
    """A command could not do what was asked.

    kind: `error` (something broke on the way), `refused` (nothing was touched), `gate` (a
    release did not prove itself), `broken` (what serves now is not known to be good).
    message: one line saying where, what was found, what was expected, what to do next.
    detail: JSON data for programs; never secrets.
    """

    def __init__(self, kind: Kind, message: str, detail: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.kind: Kind = kind
        self.message = message
        self.detail: dict[str, Any] = detail or {}

    @property
    def exit_code(self) -> int:
        """The process exit status that belongs to the kind."""
        return EXIT_CODES[self.kind]


def failed(message: str, **detail: object) -> HostError:
    """Make the error for an unexpected failure on the way."""
    return HostError("error", message, detail)


def refused(message: str, **detail: object) -> HostError:
    """Make the error of a command that was not begun: nothing was touched."""
    return HostError("refused", message, detail)


def gate_failed(message: str, **detail: object) -> HostError:
    """Make the error of a release that did not prove itself."""
    return HostError("gate", message, detail)


def broken(message: str, **detail: object) -> HostError:
    """Make the error for a service not known to be good: somebody must look."""
    return HostError("broken", message, detail)
