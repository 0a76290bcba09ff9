"""What a host, or the way to it, may answer instead of what was asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stackpin.errors import GateFailed, Refused, RollbackFailed, StackpinError

__all__ = [
    "RemoteBroken",
    "RemoteError",
    "RemoteGate",
    "RemoteLost",
    "RemoteRefused",
    "judge",
]


class RemoteError(StackpinError):
    """A command of the host program failed; `detail` is what it reported about it."""

    def __init__(self, host: str, message: str, detail: Mapping[str, Any] | None = None) -> None:
        self.host = host
        self.message = message
        self.detail = dict(detail or {})
        super().__init__(f"{host}: {message}")


class RemoteRefused(RemoteError, Refused):  # noqa: N818 - reads as what happened
    """The host declined (exit code 3): a lock, a state, a bad input."""

    exit_code = 3


class RemoteGate(RemoteError, GateFailed):  # noqa: N818 - reads as what happened
    """A gate on the host did not pass (exit code 4); detail carries the check and the log."""

    exit_code = 4


class RemoteBroken(RemoteError, RollbackFailed):  # noqa: N818 - reads as what happened
    """The host reports a state it could not repair (exit code 5)."""

    exit_code = 5


class RemoteLost(RemoteError):  # noqa: N818 - reads as what happened
    """No answer: the connection broke or the deadline passed. What happened there is unknown."""


KINDS: dict[str, type[RemoteError]] = {
    "refused": RemoteRefused,
    "gate": RemoteGate,
    "broken": RemoteBroken,
}


def judge(host: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the host program's document if it is ok, else raise the error that it reports."""
    if document.get("ok"):
        return dict(document)
    error = document.get("error") or {}
    kind = KINDS.get(str(error.get("kind")), RemoteError)
    raise kind(host, str(error.get("message", "failed")), error.get("detail"))
