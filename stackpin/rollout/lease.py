"""The deploy lock: a lease per host and stack, kept alive by a heartbeat while we work."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import gevent

from stackpin.config.stacks import STACKS
from stackpin.engine.gather.memory import Call
from stackpin.engine.remote import RemoteError, RemoteLost, RemoteRefused
from stackpin.engine.session import Session
from stackpin.errors import StackpinError
from stackpin.rollout.model import whoami

__all__ = ["Lease", "leases"]

WAIT_STEP = 2.0
CALL_TIMEOUT = 30.0
LOOK_TIMEOUT = 90.0  # a state waits for docker, 30 s at the most, and sums up a release's files


class Says(Protocol):
    """Anything with a `say(text)`, such as Progress."""

    def say(self, text: str) -> None:
        """Tell the user `text`."""


class Lease:
    """Leases on every (host, stack part), under one token; made by `take`.

    `parts` are those of every host, or by host; `ttl` in seconds. With `looks` each part's state
    is asked in the exec that takes its lease, and remembered.
    """

    def __init__(
        self,
        session: Session,
        parts: Sequence[str] | Mapping[str, Sequence[str]],
        reason: str,
        ttl: float,
        token: str | None = None,
        *,
        looks: bool = False,
    ) -> None:
        self._looks = looks
        self.token = token or secrets.token_hex(16)
        self._session = session
        self._parts = parts
        self._excused: set[str] = set()
        self._lost: dict[str, str] = {}
        self._reason = reason
        self._ttl = ttl
        self._held: dict[tuple[str, str], float] = {}
        self._heart: gevent.Greenlet | None = None

    def take(self, hosts: Sequence[str], wait: float = 0.0, says: Says | None = None) -> None:
        """Acquire the lease on all `hosts` or on none, trying for `wait` seconds.

        Raises RemoteRefused naming the holder, its reason and age.
        """
        deadline = time.monotonic() + wait
        told = False
        while True:
            try:
                self._take_all(hosts)
            except RemoteRefused as held:
                self.give_back()
                if time.monotonic() >= deadline:
                    raise
                if says and not told:
                    says.say(f"waiting up to {wait:.0f} s: {held}")
                    told = True
                gevent.sleep(min(WAIT_STEP, max(0.1, deadline - time.monotonic())))
            except BaseException:
                self.give_back()
                raise
            else:
                self._heart = gevent.spawn(self._beat)
                return

    def check(self) -> None:
        """Raise when a lease was lost: whoever took it may be working on the host."""
        if self.lost:
            raise StackpinError(f"lost the deploy lock: {self.lost}")

    @property
    def lost(self) -> str | None:
        """Why a lease is gone, in a sentence; None while all that count are held."""
        return next((why for host, why in self._lost.items() if host not in self._excused), None)

    def excuse(self, errors: Mapping[str, Exception]) -> None:
        """Count the leases on hosts that failed with `errors` no longer, also when lost by now.

        Nothing new is done there, and the others are to go on or back. One that refuses counts:
        somebody else may have taken its lease.
        """
        self._excused |= {
            host
            for host, error in errors.items()
            if isinstance(error, RemoteError)
            and not isinstance(error, RemoteRefused)
            and error.host == host
        }

    def give_back(self) -> None:
        """Release every lease still held; a host that does not answer lets it expire."""
        if self._heart is not None:
            self._heart.kill(block=False)
            self._heart = None

        def one(host: str) -> None:
            for part, answer in self._ask(host, "lock-release", self._held_on(host)):
                if not isinstance(answer, RemoteError):
                    self._session.hold(host, part, None)

        self._session.map(one, self._hosts())
        self._held.clear()

    def _take_all(self, hosts: Sequence[str]) -> None:
        def one(host: str) -> None:
            parts = self._parts[host] if isinstance(self._parts, Mapping) else self._parts
            refused = None
            # Noted first: without an answer they may be taken all the same, and are given back.
            self._held.update({(host, part): time.monotonic() for part in parts})
            for part, answer in self._ask(host, "lock-acquire", parts):
                if isinstance(answer, RemoteError):
                    del self._held[host, part]
                    refused = refused or answer
                    continue
                self._held[host, part] = time.monotonic()
                self._session.hold(host, part, self.token)
            if refused:
                raise refused

        self._session.map(one, hosts).all()

    def _hosts(self) -> list[str]:
        return sorted({host for host, _ in self._held})

    def _held_on(self, host: str) -> list[str]:
        return [part for name, part in self._held if name == host]

    def _ask(self, host: str, command: str, parts: Sequence[str]) -> list[tuple[str, Any]]:
        """Call `command` for the leases of `parts`, in one exec; return each part's answer."""
        payload = {
            "token": self.token,
            "owner": whoami(),
            "reason": self._reason,
            "ttl": self._ttl,
        }
        calls: list[Call] = [(command, part, payload) for part in parts]
        looks = self._looks and command == "lock-acquire"
        if looks:
            calls += [("state", part, {}) for part in parts]
        timeout = LOOK_TIMEOUT if looks else CALL_TIMEOUT
        answers = self._session.many(host, calls, timeout=timeout, keep=looks)
        return list(zip(parts, answers[: len(parts)], strict=True))

    def _beat(self) -> None:
        while True:
            gevent.sleep(self._ttl / 3)
            self._session.map(self._renew, self._hosts())

    def _renew(self, host: str) -> None:
        parts = self._held_on(host)
        try:
            answers = self._ask(host, "lock-renew", parts)
        except RemoteError as error:
            answers = [(part, error) for part in parts]
        for part, answer in answers:
            if not isinstance(answer, RemoteError):
                self._held[host, part] = time.monotonic()
            # A short cut of the network is no reason to give up before the lease is over.
            elif (
                not isinstance(answer, RemoteLost)
                or time.monotonic() - self._held[host, part] > self._ttl
            ):
                self._lose(host, part, answer)

    def _lose(self, host: str, part: str, error: RemoteError) -> None:
        # A node that is away or ill is no reason to leave the others half-way: its own stages
        # fail. That somebody took its lease is one.
        if isinstance(error, RemoteRefused) or not STACKS[part].tolerates_unreachable:
            self._lost[host] = str(error)


@contextmanager
def leases(
    session: Session,
    stack: str,
    hosts: Sequence[str],
    reason: str,
    *,
    ttl: float = 60.0,
    wait: float = 0.0,
) -> Iterator[Lease]:
    """Hold the lease of `stack` on all `hosts` for the length of the block.

    `ttl` and `wait` in seconds. Raises RemoteRefused when somebody else holds one.
    """
    lease = Lease(session, [stack], reason, ttl)
    lease.take(hosts, wait)
    try:
        yield lease
    finally:
        lease.give_back()
