"""Update nodes by a rollout in a process of its own.

Of its own, so that a watch that runs for months keeps nothing of the rollouts it made, and outlives
one that dies. The rollout is `stackpin deploy`, its JSON document the answer.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stackpin.fleet.model import Outcome

__all__ = ["Rollouts", "outcomes"]

PART = "xingrin-worker"
UPDATED = frozenset({"serving", "changed", "in-sync"})
# Longer than any guard: whoever is silent for that long is ended and the host's guard takes over.
LONGEST = 3600.0


@dataclass
class Rollouts:
    """Starts rollouts of the nodes of `inventory`, with `data` over its variables."""

    inventory: str
    data: Mapping[str, Any] = field(default_factory=dict)
    reason: str = "watch"
    _child: subprocess.Popen[str] | None = None

    def run(self, hosts: Sequence[str]) -> dict[str, Outcome]:
        """Roll `hosts` out at once and return how each ended; never raises StackpinError."""
        try:
            # A session of its own: a Ctrl-C meant for the watch does not cut the rollout short.
            self._child = subprocess.Popen(
                self.argv(hosts),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        except OSError as error:
            return dict.fromkeys(hosts, Outcome("refused", f"{sys.executable}: {error}"))
        try:
            out, _ = self._child.communicate(timeout=LONGEST)
            return outcomes(out, self._child.returncode, hosts)
        except subprocess.TimeoutExpired:
            self.abort()
            self._child.communicate()
            return dict.fromkeys(hosts, Outcome("unknown", f"not done within {LONGEST:.0f} s"))
        finally:
            if self._child.poll() is None:
                self.abort()
                self._child.communicate()
            self._child = None

    @property
    def busy(self) -> bool:
        """Whether a rollout is at work."""
        return self._child is not None

    def abort(self) -> None:
        """Tell the rollout at work, if any, to take back what is not confirmed and to end."""
        if self._child is not None and self._child.poll() is None:
            os.kill(self._child.pid, signal.SIGTERM)

    def argv(self, hosts: Sequence[str]) -> list[str]:
        """Return the command that rolls `hosts` out."""
        argv = [sys.executable, "-m", "stackpin", "deploy", self.inventory, PART]
        argv += ["--limit", ",".join(hosts), "--yes", "--json", "--reason", self.reason]
        # Each node for itself: one that fails goes back, the others stay.
        argv += ["--batch", "100%", "--max-failures", str(len(hosts)), "--on-failure", "halt"]
        for name, value in self.data.items():
            argv += ["--data", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
        return argv


def outcomes(out: str, code: int, hosts: Sequence[str]) -> dict[str, Outcome]:
    """Read the JSON document `out` of a rollout that ended with `code` into outcomes by host."""
    try:
        document = json.loads(out)
        told = document.get("hosts") or {}
    except (ValueError, AttributeError):
        document, told = {}, {}
    error = (document.get("error") or {}).get("message") or f"the rollout ended with {code}"
    return {host: _outcome((told.get(host) or {}).get(PART), code, str(error)) for host in hosts}


def _outcome(told: Mapping[str, Any] | None, code: int, error: str) -> Outcome:
    if told is None:
        # Nothing was begun on it: the run was refused as a whole, or broke.
        kind = {0: "unknown", 3: "refused", 130: "refused"}.get(code, "failed")
        return Outcome(kind, error)
    kind, own = str(told.get("outcome")), int(told.get("code") or 0)
    if kind in UPDATED and own == 0:
        return Outcome("updated")
    if kind in {"unreachable", "rolled-back", "failed", "unknown"}:
        return Outcome(kind, str(told.get("error") or error))
    if kind in UPDATED:
        return Outcome("unknown", str(told.get("error") or "it serves, but is not healthy"))
    return Outcome("refused", str(told.get("error") or error))
