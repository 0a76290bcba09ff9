"""Whether a node's agent beats at the server, which is all that shows it: it listens nowhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import gevent
from gevent.lock import BoundedSemaphore

from stackpin.config.release import version_of
from stackpin.engine.remote import RemoteError, RemoteLost
from stackpin.engine.session import Session
from stackpin.errors import Refused, StackpinError
from stackpin.host.gate import evaluate
from stackpin.rollout.model import Roll, Run

__all__ = ["Watch", "agree", "fleet", "watch"]

SERVER = "xingrin-server"
TIMEOUT = 30.0
PAUSE = 2.0
# The server compares the agent's version at every beat; these say that it found another one.
# A row that is `offline` stays so under beats: the product never writes it again.
WRONG_ROWS = frozenset({"updating", "outdated"})


def fleet(session: Session, host: str, ids: Sequence[int] | None = None) -> dict[str, Any]:
    """Ask the server's `host` about its workers (all, or those with `ids`).

    -> {now: unix seconds there, version, workers: [{id, name, address, local, api_status,
    row_status, beat: {updated: unix s, age: s, cpu, mem} or None}]}.
    """
    payload = {} if ids is None else {"ids": list(ids)}
    return session.call(host, "fleet", SERVER, payload, timeout=TIMEOUT)


class Watch:
    """Looks at the server's workers for several nodes at once, asking at most every two seconds."""

    def __init__(self, run: Run, host: str) -> None:
        self._run, self._host = run, host
        self._lock = BoundedSemaphore()
        self._seen: dict[str, Any] = {}
        self._at = float("-inf")
        self._since = 0.0

    def begin(self) -> None:
        """Take the server's time: from now on only later beats are those of new agents.

        Raises StackpinError when the server cannot be asked.
        """
        self._at = float("-inf")
        try:
            self._since = float(self._look()["now"])
        except RemoteError as error:
            raise StackpinError(
                f"the server {self._host} cannot be asked for heartbeats: {error.message}"
            ) from error

    def until(self, roll: Roll, seconds: float) -> dict[str, Any]:
        """Wait up to `seconds` for a new beat of a node; return a GateResult."""
        begun = time.monotonic()
        while True:
            gate = self._judge(roll, begun, self._since, None)
            if gate["passed"] or time.monotonic() - begun + PAUSE > seconds:
                return gate
            gevent.sleep(PAUSE)

    def once(self, roll: Roll, ttl: float) -> dict[str, Any]:
        """Return a GateResult: whether the last beat of a node is younger than `ttl` seconds."""
        return self._judge(roll, time.monotonic(), None, ttl)

    def _judge(
        self, roll: Roll, begun: float, since: float | None, ttl: float | None
    ) -> dict[str, Any]:
        expected = "a heartbeat " + (f"younger than {ttl:g} s" if ttl else "of the new agent")
        try:
            number = self._run.session.call(roll.host, "worker", roll.part, {"ask": False})["id"]
            ok, got = judge(self._look(), number, _wanted(roll), since, ttl)
        except RemoteError as error:
            number, ok, got = None, False, str(error)
            if isinstance(error, RemoteLost):
                self._reconnect(error.host)
        result = {
            "name": "heartbeat",
            "where": "public",
            "ok": ok,
            "required": True,
            "weight": 1.0,
            "seconds": round(time.monotonic() - begun, 3),
            "expected": expected,
            "got": got,
            "detail": f"worker {number or '(not registered)'} as {self._host} sees it",
        }
        return dict(evaluate([result], 1.0))

    def _look(self) -> dict[str, Any]:
        with self._lock:
            if time.monotonic() - self._at >= PAUSE:
                self._seen = fleet(self._run.session, self._host)
                self._at = time.monotonic()
            return self._seen

    def _reconnect(self, host: str) -> None:
        try:
            self._run.session.reconnect(host)
        except RemoteError:
            return  # still away; asked again until the time is over


def agree(run: Run) -> Run:
    """Refuse to give nodes a version which their server neither runs nor gets in this run."""
    for part in run.parts:
        host = run.witness(part)
        todo = [roll for roll in run.rolls if roll.part == part and roll.outcome == "pending"]
        wanted = {version for roll in todo if roll.switches and (version := _wanted(roll))}
        follows = any(roll.host == host and roll.outcome == "pending" for roll in run.rolls)
        if host is None or not wanted or follows:
            continue
        try:
            runs = str(fleet(run.session, host, []).get("version") or "")
        except RemoteError as error:
            raise Refused(
                f"{host}: the server cannot be asked for heartbeats, without which no node is "
                f"judged: {error.message}"
            ) from error
        if runs and wanted != {runs.removesuffix("-dev")}:
            raise Refused(
                f"{host}: the server runs {runs}, and {part} is to become "
                f"{', '.join(sorted(wanted))}: roll out the whole stack xingrin, server first"
            )
    return run


def watch(run: Run, part: str) -> Watch | None:
    """Return the run's Watch for `part`, None for a part that no other host tells about."""
    host = run.witness(part)
    if host is None:
        return None
    return run.watches.setdefault(part, Watch(run, host))


def judge(
    seen: Mapping[str, Any],
    number: object,
    version: str | None,
    since: float | None,
    ttl: float | None,
) -> tuple[bool, str]:
    """Say whether worker `number` of the `fleet` answer `seen` is healthy, and what was seen.

    `version`: the one the agent has; `since`: the beat must be later (server time); `ttl`: it must
    be younger, in seconds. None leaves a condition out.
    """
    if number is None:
        return False, "the node is not registered at the server"
    row = next((one for one in seen.get("workers", []) if one.get("id") == number), None)
    if row is None:
        return False, f"the server knows no worker {number}"
    runs = seen.get("version")
    if version and runs and runs.removesuffix("-dev") != version:
        return False, f"the server runs {runs}, this agent {version}"
    beat = row.get("beat")
    if not beat:
        return False, f"no heartbeat; the API says {row.get('api_status')}"
    age = float(beat.get("age") or 0.0)
    told = f"heartbeat {age:.0f} s ago, {row.get('api_status')}, row {row.get('row_status') or '?'}"
    fresh = since is None or float(beat["updated"]) > since
    young = ttl is None or age <= ttl
    right = row.get("api_status") == "online" and row.get("row_status") not in WRONG_ROWS
    return fresh and young and right, told + ("" if fresh else ", of the old agent")


def _wanted(roll: Roll) -> str | None:
    return version_of(roll.wanted or roll.now or "") or None
