"""What one run is asked to do, and what is known about it so far."""

from __future__ import annotations

import getpass
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stackpin.config.common import StackSettings
from stackpin.config.stacks import STACKS, Stack
from stackpin.rollout.progress import Progress

if TYPE_CHECKING:
    from stackpin.artifacts import Artifact
    from stackpin.engine.plan import Plan
    from stackpin.engine.session import Session
    from stackpin.notify import Messenger
    from stackpin.rollout.heartbeats import Watch
    from stackpin.rollout.lease import Lease

__all__ = ["Request", "Roll", "Run", "whoami"]


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    `batches` are sizes in turn ("1", "25%"), the last repeating; `max_failures` hosts may fail
    before the run stops; `wait_lock` in seconds; `to` is the release or version a rollback goes
    to; `rehearse` None means as the stack is configured, and so does `on_failure`: what becomes of
    hosts that serve the new release already when the run stops. `metrics_file` is where figures go,
    None for what the inventory says.
    """

    command: str
    inventory: str
    stack: Stack
    limit: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    batches: tuple[str, ...] = ("1", "100%")
    max_failures: int = 0
    on_failure: Literal["halt", "rollback"] | None = None
    wait_lock: float = 0.0
    plan_file: Path | None = None
    to: str | None = None
    reason: str = ""
    rehearse: bool | None = None
    evidence: Path = Path("evidence")
    metrics_file: str | None = None
    hooks: Path = Path("hooks")


@dataclass
class Roll:
    """One host's way through one part of the stack.

    `outcome`: pending, in-sync, changed, serving (new release confirmed), rolled-back, failed
    (nothing switched), skipped, unreachable (left for the next run), unknown. `code` is what it
    adds to the exit code; 2 stands for "still to be done" and is no failure.
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
    anew: bool = False
    public: dict[str, Any] | None = None
    checks: dict[str, Any] | None = None
    timings: list[dict[str, Any]] = field(default_factory=list)

    @property
    def switches(self) -> bool:
        """True when another release is to go live, or the same one made anew (other variables)."""
        return self.wanted is not None and (self.anew or self.wanted != self.now)

    @property
    def alive(self) -> bool:
        """True while the host has neither failed nor been undone."""
        return self.code == 0 and self.outcome in {"pending", "changed", "serving", "in-sync"}

    @property
    def serving(self) -> str | None:
        """The release that serves here now, as far as is known."""
        return self.wanted if self.confirmed else self.detail.get("serving", self.now)

    @property
    def gate(self) -> dict[str, Any] | None:
        """The GateResult that did not pass here, where that is what went wrong."""
        for found in (self.detail.get("gate"), self.detail):
            if isinstance(found, dict) and "results" in found:
                return found
        return None

    @property
    def failed(self) -> bool:
        """True when something went wrong here, as opposed to not being there at all."""
        return self.code not in {0, 2}


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

    `clock` is the monotonic time at `started`, `machines` how busy each host was before anything
    was changed. `stopped` tells that too many hosts failed for it to go on; `raised` is what ended
    it early, None when it went through.
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
    clock: float = field(default_factory=time.monotonic)
    exits: ExitStack = field(default_factory=ExitStack)
    settings: dict[str, dict[str, StackSettings]] = field(default_factory=dict)
    artifacts: dict[str, dict[str, Artifact]] = field(default_factory=dict)
    images: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    opened: Session | None = None
    lease: Lease | None = None
    planned: Plan | None = None
    approved: bool = False
    rolls: list[Roll] = field(default_factory=list)
    machines: dict[str, dict[str, Any]] = field(default_factory=dict)
    timings: list[dict[str, Any]] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    watches: dict[str, Watch] = field(default_factory=dict)
    messenger: Messenger | None = None
    backed_up: set[tuple[str, str]] = field(default_factory=set)  # host and part, in this run
    inverse: list[dict[str, Any]] = field(default_factory=list)  # see rollout.inverse
    stopped: bool = False
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
    def order(self) -> tuple[str, ...]:
        """The parts in the order this run works on them: a way back takes the last one first.

        Where one part judges another it goes first also then: nodes find their server on the
        version they go back to.
        """
        judged = any(part.witness for part in self.request.stack.components())
        if self.request.command == "rollback" and not judged:
            return tuple(reversed(self.parts))
        return tuple(self.parts)

    @property
    def places(self) -> dict[str, tuple[str, ...]]:
        """The parts each host has, in rollout order."""
        return {host: tuple(parts) for host, parts in self.settings.items()}

    def hosts_of(self, part: str) -> list[str]:
        """Return the connected hosts that have `part`."""
        return [host for host in self.session.hosts if part in self.settings.get(host, {})]

    def witness(self, part: str) -> str | None:
        """Return the host that is asked whether `part` is healthy elsewhere, if there is one."""
        name = STACKS[part].witness
        if name is None:
            return None
        group = STACKS[name].group
        known = [*self.session.hosts, *sorted(self.session.aside)]
        return next((host for host in known if group in self.session.groups(host)), None)

    @property
    def data(self) -> dict[str, Any]:
        """Variables this run lays over the inventory's."""
        return {**self.request.data, "stackpin_lock_token": self.token}

    @property
    def serves(self) -> bool:
        """True when every host serves what it was to serve, whatever else went wrong."""
        outcomes = {roll.outcome for roll in self.rolls}
        return bool(outcomes) and outcomes <= {"serving", "in-sync"}

    @property
    def failures(self) -> int:
        """How many hosts failed."""
        return len({roll.host for roll in self.rolls if roll.failed})

    def failed_beside(self, roll: Roll) -> Roll | None:
        """Return the roll of another part of the same installation on this host that failed.

        Parts are one installation when they share the keeper of their data.
        """
        keeper = STACKS[roll.part].keeper or roll.part
        for one in self.rolls:
            same = (STACKS[one.part].keeper or one.part) == keeper
            if one.failed and one is not roll and one.host == roll.host and same:
                return one
        return None

    @property
    def keeps_pin(self) -> bool:
        """True when the version of this run is to stay pinned: the hosts took it.

        Hosts out of reach, and as many failures as were allowed, do not change that.
        """
        if self.serves:
            return True
        if self.stopped or self.raised or self.failures > self.request.max_failures:
            return False
        good = [roll for roll in self.rolls if roll.outcome in {"serving", "changed", "in-sync"}]
        rest = [roll for roll in self.rolls if roll not in good]
        return bool(good) and all(
            roll.failed or roll.code == 2 or self.failed_beside(roll) for roll in rest
        )

    def timed(self, timings: list[dict[str, Any]], stage: str, begun: float) -> None:
        """Add to `timings` that `stage` went on from `begun` (monotonic) until now."""
        now = time.monotonic()
        at, seconds = round(begun - self.clock, 3), round(now - begun, 3)
        timings.append({"stage": stage, "at": at, "seconds": seconds})

    def versions(self) -> str:
        """Return the version this run is about, for hooks and evidence names."""
        for settings in self.settings.values():
            for part in settings.values():
                version = getattr(part, "version", None)
                if version:
                    return str(version)
        return ""
