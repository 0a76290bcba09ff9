"""What one run is asked to do, and what is known about it so far."""

from __future__ import annotations

import getpass
import secrets
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stackpin.config.common import StackSettings
from stackpin.config.stacks import Stack
from stackpin.rollout.progress import Progress

if TYPE_CHECKING:
    from stackpin.artifacts import Artifact
    from stackpin.engine.plan import Plan
    from stackpin.engine.session import Session
    from stackpin.rollout.lease import Lease

__all__ = ["Request", "Roll", "Run", "whoami"]


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    `batches` are sizes in turn ("1", "25%"), the last repeating; `max_failures` hosts may fail
    before the run stops; `wait_lock` in seconds; `to` is the release or version a rollback goes
    to; `rehearse` None means as the stack is configured.
    """

    command: str
    inventory: str
    stack: Stack
    limit: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    batches: tuple[str, ...] = ("1", "100%")
    max_failures: int = 0
    wait_lock: float = 0.0
    plan_file: Path | None = None
    to: str | None = None
    reason: str = ""
    rehearse: bool | None = None
    evidence: Path = Path("evidence")
    hooks: Path = Path("hooks")


@dataclass
class Roll:
    """One host's way through one part of the stack.

    `outcome`: pending, in-sync, changed, serving (new release confirmed), rolled-back, failed
    (nothing switched), unknown. `code` is what it adds to the exit code.
    """

    host: str
    part: str
    now: str | None
    wanted: str | None
    begun: bool = False
    token: str | None = None
    deadline: float | None = None
    first: bool = False
    confirmed: bool = False
    retired: bool = False
    stage: str = ""
    outcome: str = "pending"
    code: int = 0
    error: str = ""
    detail: dict[str, Any] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    public: dict[str, Any] | None = None
    checks: dict[str, Any] | None = None
    timings: list[dict[str, Any]] = field(default_factory=list)

    @property
    def switches(self) -> bool:
        """True when another release is to go live."""
        return self.wanted is not None and self.wanted != self.now

    @property
    def alive(self) -> bool:
        """True while the host has neither failed nor been undone."""
        return self.code == 0 and self.outcome in {"pending", "changed", "serving", "in-sync"}


def whoami() -> str:
    """Return user@machine, as the journal and the lock name an operator."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


@dataclass
class Run:
    """A run so far. Stages take it, add to it, and return it or an exit code.

    `raised` is what ended it early, None when it went through.
    """

    request: Request
    progress: Progress
    approve: Callable[[Run], None]
    id: str = field(
        default_factory=lambda: f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    )
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    who: str = field(default_factory=whoami)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    exits: ExitStack = field(default_factory=ExitStack)
    settings: dict[str, dict[str, StackSettings]] = field(default_factory=dict)
    artifacts: dict[str, dict[str, Artifact]] = field(default_factory=dict)
    opened: Session | None = None
    lease: Lease | None = None
    planned: Plan | None = None
    approved: bool = False
    rolls: list[Roll] = field(default_factory=list)
    timings: list[dict[str, Any]] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    raised: BaseException | None = None

    @property
    def session(self) -> Session:
        """The connected hosts; only after the stage `connect`."""
        assert self.opened is not None  # noqa: S101 - the order of the stages
        return self.opened

    @property
    def plan(self) -> Plan:
        """What will change; only after the stage `plan`."""
        assert self.planned is not None  # noqa: S101 - the order of the stages
        return self.planned

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        """Deploy files of each part of the stack, in rollout order."""
        return {part.name: part.deploys for part in self.request.stack.components()}

    @property
    def data(self) -> dict[str, Any]:
        """Variables this run lays over the inventory's."""
        return {**self.request.data, "stackpin_lock_token": self.token}

    @property
    def serves(self) -> bool:
        """True when every host serves what it was to serve, whatever else went wrong."""
        outcomes = {roll.outcome for roll in self.rolls}
        return bool(outcomes) and outcomes <= {"serving", "in-sync"}

    def versions(self) -> str:
        """Return the version this run is about, for hooks and evidence names."""
        for settings in self.settings.values():
            for part in settings.values():
                version = getattr(part, "version", None)
                if version:
                    return str(version)
        return ""
