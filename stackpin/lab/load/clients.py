"""The clients of one load: who asks what when, and the tally they keep together."""

import asyncio
import contextlib
import itertools
import math
import random
import ssl
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

from stackpin.lab.load.apps import APPS, WRITE, Ask
from stackpin.lab.load.connection import Answer, Connection, RequestError
from stackpin.lab.load.plan import LOST_SECONDS, REQUEST_SECONDS, Plan, Result, check_target

MOST_SAMPLES = 20


class Runner:
    """All clients of one load, and the tally they keep together."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        _, _, secure = check_target(plan.url)
        self._context = ssl.create_default_context(cafile=plan.ca) if secure else None
        self._app = APPS[plan.app]
        token = plan.token_file
        self._token = "" if token is None else token.read_text(encoding="utf-8").rstrip("\r\n")
        self._run = uuid.uuid4().hex[:8]
        self._numbers = itertools.count(1)
        self._latencies: list[float] = []
        self._failures: Counter[str] = Counter()
        self._versions: Counter[str] = Counter()
        self._result = Result()
        self._last_good, self._failing = time.monotonic(), False
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Let every client finish what it has begun, and then end."""
        self._stop.set()

    async def run(self) -> Result:
        """Load the target until the time is up or `stop` is called; then count what is lost."""
        plan, result = self._plan, self._result
        began = self._last_good = time.monotonic()
        result.started = _now()
        clients = [self._client(i, keep=i < plan.keep_alive) for i in range(self._clients)]
        alarm = asyncio.get_running_loop().call_later(plan.seconds, self._stop.set)
        await asyncio.gather(*clients)
        alarm.cancel()
        self._note_gap()
        result.ended = _now()
        result.seconds = round(time.monotonic() - began, 3)
        result.failed_by_kind = dict(self._failures)
        result.failed = sum(self._failures.values())
        result.versions = dict(self._versions)
        result.latency_ms = percentiles(self._latencies)
        result.lost = await self._find_lost()
        return result

    @property
    def _clients(self) -> int:
        return self._plan.keep_alive + self._plan.one_shot

    async def _client(self, index: int, *, keep: bool) -> None:
        pause, mix = self._clients / self._plan.rate, self._app.mix
        dice = random.Random(index)  # noqa: S311 (spreads requests in time, guards nothing)
        connection: Connection | None = None
        await self._think(pause * index / self._clients)
        for kind in itertools.islice(itertools.cycle(mix), index % len(mix), None):
            if self._stop.is_set() or self._result.requests >= self._plan.max_requests:
                break
            began = time.monotonic()
            connection = await self._request(kind, connection, keep=keep)
            spent = time.monotonic() - began
            await self._think(pause * dice.uniform(0.5, 1.5) - spent)
        if connection:
            connection.close()

    async def _think(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), max(0.0, seconds))

    async def _request(
        self, kind: str, connection: Connection | None, *, keep: bool
    ) -> Connection | None:
        """Send one request; return the connection if the next one may use it."""
        name = f"load-{self._run}-{next(self._numbers)}"
        message = self._message(self._app.ask(kind, name), keep=keep)
        began = time.monotonic()
        self._result.requests += 1
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                connection = connection or await Connection.open(self._plan, self._context)
                answer = await connection.ask(message)
            self._check(kind, name, answer)
        except (RequestError, TimeoutError) as error:
            self._fail(kind, error)
            if connection:
                connection.close()
            return None
        self._latencies.append(time.monotonic() - began)
        self._note_gap()
        self._result.ok += 1
        if version := answer.headers.get("x-app-version"):
            self._versions[version] += 1
        if kind == WRITE:
            self._result.acknowledged.append(name)
        if keep and not answer.closes:
            return connection
        connection.close()
        return None

    def _message(self, ask: Ask, *, keep: bool) -> bytes:
        host = self._plan.server_name or urlsplit(self._plan.url).netloc
        lines = [f"{ask.method} {ask.path} HTTP/1.1", f"Host: {host}", "User-Agent: stackpin-load"]
        lines.append(f"Connection: {'keep-alive' if keep else 'close'}")
        if ask.secret:
            lines.append(f"Authorization: Bearer {self._token}")
        if ask.method == "POST":
            lines += ["Content-Type: application/json", f"Content-Length: {len(ask.body)}"]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + ask.body

    def _check(self, kind: str, name: str, answer: Answer) -> None:
        expected = 201 if kind == WRITE else 200
        start = answer.body[:120].decode("utf-8", "replace")
        if answer.status != expected:
            raise RequestError("status", f"{answer.status} instead of {expected}: {start}")
        try:
            good = self._app.good(kind, name, answer.body)
        except (ValueError, KeyError, TypeError):
            good = False
        if not good:
            raise RequestError("body", f"unexpected body: {start}")

    def _note_gap(self) -> None:
        """At a good answer, or the end: how long there was none, if something failed meanwhile."""
        now = time.monotonic()
        if self._failing:
            gap = round(now - self._last_good, 3)
            self._result.longest_gap = max(self._result.longest_gap, gap)
        self._last_good, self._failing = now, False

    def _fail(self, request: str, error: Exception) -> None:
        kind = error.kind if isinstance(error, RequestError) else "timeout"
        detail = str(error) or f"no answer within {REQUEST_SECONDS:.0f} s"
        self._failures[kind] += 1
        self._failing = True
        if len(self._result.samples) < MOST_SAMPLES:
            sample = {"at": _now(), "request": request, "kind": kind, "detail": detail}
            self._result.samples.append(sample)

    async def _find_lost(self) -> list[str] | None:
        """Ask which of the acknowledged writes are really there."""
        try:
            async with asyncio.timeout(LOST_SECONDS):
                return sorted(await self._app.missing(self._result.acknowledged, self._exchange))
        except (RequestError, TimeoutError, ValueError, KeyError, TypeError):
            return None

    async def _exchange(self, ask: Ask) -> Answer:
        connection = await Connection.open(self._plan, self._context)
        try:
            return await connection.ask(self._message(ask, keep=False))
        finally:
            connection.close()


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return p50, p95, p99 and max in milliseconds, by nearest rank; empty without data."""
    if not seconds:
        return {}
    ordered = sorted(seconds)
    ranks = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {
        name: round(ordered[math.ceil(share * len(ordered)) - 1] * 1000, 2)
        for name, share in ranks.items()
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def run(plan: Plan) -> Result:
    """Load the target in this process until the time is up."""
    return await Runner(plan).run()
