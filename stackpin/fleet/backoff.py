"""How long a node that failed is left alone: 1, 2, 4 ... minutes, at most 30."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from stackpin.fleet.model import Want

__all__ = ["FIRST", "LONGEST", "Failure", "after", "due", "target_of"]

FIRST = 60.0
LONGEST = 30 * 60.0


@dataclass(frozen=True)
class Failure:
    """A node's failures in a row on the way to `target`; it is tried again at `until`.

    `until` in Unix seconds by this machine's clock, `kind` the last outcome, `error` its message.
    """

    target: str
    failures: int
    until: float
    kind: str
    error: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `as_json` wrote. Raises KeyError, TypeError or ValueError."""
        return cls(
            target=str(value["target"]),
            failures=int(value["failures"]),
            until=float(value["until"]),
            kind=str(value["kind"]),
            error=str(value.get("error", "")),
        )

    def left(self, now: float) -> float:
        """Return the seconds until the next try. A clock set back cannot prolong it."""
        rest = self.until - now
        # More than it ever was: the clock was set back, and nobody knows how long it has been.
        return 0.0 if rest > _pause(self.failures) else max(0.0, rest)


def _pause(failures: int) -> float:
    return float(min(LONGEST, FIRST * 2 ** min(max(failures, 1) - 1, 20)))


def target_of(want: Want) -> str:
    """Name what is wanted; another target forgets the failures of the one before."""
    return f"{want.version}@{want.digest or 'unlocked'}"


def after(before: Failure | None, target: str, kind: str, error: str, now: float) -> Failure:
    """Return the record of a node that failed once more at `now` (Unix seconds)."""
    failures = before.failures + 1 if before and before.target == target else 1
    return Failure(target, failures, now + _pause(failures), kind, error[:400])


def due(failure: Failure | None, target: str, now: float) -> bool:
    """Whether a node with this record (None: never failed) may be tried at `now`."""
    return failure is None or failure.target != target or failure.left(now) <= 0
