"""A strict load client: it counts what a user would notice while a lab host is being changed.

    python -m stackpin.lab.load --url https://10.77.0.11 --server-name crm.lab --ca crm.pem \
        --token-file token --seconds 20 --json result.json

It speaks HTTP over plain asyncio streams on purpose. HTTP libraries keep pools and quietly repeat
a request whose connection died; that is kind to users and useless for measuring. Here nothing is
ever repeated: every reset, wrong status, wrong body and missing answer is one failure. The only
forgiveness is the one HTTP itself gives: after an answer with `Connection: close` the connection
may go, and the next request opens another.
"""

import argparse
import asyncio
import contextlib
import ipaddress
import itertools
import json
import math
import os
import random
import signal
import ssl
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

API = "/portal-admin-api"
REQUEST_SECONDS = 15.0
MOST_SAMPLES = 20
MOST_SECONDS = 3600.0
MOST_REQUESTS = 500_000
MOST_BODY = 8 * 1024 * 1024

_LAB_NETWORKS = [
    ipaddress.ip_network(text)
    for text in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::1/128",
        "fc00::/7",
    )
]
# What one client asks for, in turn; each client begins at another place.
_MIX = ("hosts", "healthz", "write", "portal", "healthz", "hosts", "healthz", "write", "portal")


class RefusedTargetError(ValueError):
    """The target is not a lab address."""


@dataclass(frozen=True)
class Plan:
    """What to load, how hard and for how long."""

    url: str
    token_file: Path
    server_name: str = ""
    ca: Path | None = None
    seconds: float = 20.0
    keep_alive: int = 32
    one_shot: int = 8
    rate: float = 120.0
    """Requests per second over all clients; think time keeps it there on a fast host."""
    max_requests: int = 100_000

    def __post_init__(self) -> None:
        """Refuse what could hurt somebody, or would never end."""
        check_target(self.url)
        if not 0 < self.seconds <= MOST_SECONDS or not 0 < self.max_requests <= MOST_REQUESTS:
            raise ValueError(f"at most {MOST_SECONDS:.0f} seconds and {MOST_REQUESTS} requests")
        if (
            not 0 < self.keep_alive + self.one_shot <= 256
            or min(self.keep_alive, self.one_shot) < 0
        ):
            raise ValueError("between 1 and 256 clients")
        if not 0 < self.rate <= 5000:
            raise ValueError("the rate must be above 0 and at most 5000 per second")
        if self.url.startswith("https:") and self.ca is None:
            raise ValueError("https needs --ca: a load test that trusts anybody proves nothing")


@dataclass
class Result:
    """What happened. `ok + failed == requests`; `lost` is None if it could not be found out."""

    started: str = ""
    ended: str = ""
    seconds: float = 0.0
    requests: int = 0
    ok: int = 0
    failed: int = 0
    failed_by_kind: dict[str, int] = field(default_factory=dict)
    samples: list[dict[str, str]] = field(default_factory=list)
    latency_ms: dict[str, float] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    """Answers by the `X-App-Version` they carried: a switch can be seen in it."""
    acknowledged: list[str] = field(default_factory=list)
    """Names of the hosts whose registration was answered with 201."""
    lost: list[str] | None = None
    """Acknowledged names the service does not know any more, asked for after the load."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a result that was written with `--json`."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def check_target(url: str) -> tuple[str, int, bool]:
    """Return address, port and whether TLS is spoken; refuse all but loopback and private ones."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or parts.path not in ("", "/") or parts.query:
        raise RefusedTargetError(f"{url!r} is not of the form https://ADDRESS[:PORT]")
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError as error:
        raise RefusedTargetError(f"{host!r} is not an address; names are not resolved") from error
    if not any(address in network for network in _LAB_NETWORKS):
        raise RefusedTargetError(f"{address} is neither a loopback nor a private address")
    secure = parts.scheme == "https"
    return str(address), parts.port or (443 if secure else 80), secure


class _FailureError(Exception):
    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def closes(self) -> bool:
        return "close" in self.headers.get("connection", "").lower()


class _Connection:
    """One connection; asks one thing at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, plan: Plan, context: ssl.SSLContext | None) -> "_Connection":
        host, port, _ = check_target(plan.url)
        name = (plan.server_name or host) if context else None
        try:
            streams = await asyncio.open_connection(
                host, port, ssl=context, server_hostname=name, limit=256 * 1024
            )
        except OSError as error:
            raise _FailureError("connect", repr(error)) from error
        return cls(*streams)

    async def ask(self, message: bytes) -> _Answer:
        try:
            self._writer.write(message)
            await self._writer.drain()
            return await self._read()
        except asyncio.IncompleteReadError as error:
            what = "in the middle of an answer" if error.partial else "before an answer"
            raise _FailureError("eof", f"closed {what}") from error
        except (OSError, ValueError, asyncio.LimitOverrunError) as error:
            kind = "reset" if isinstance(error, OSError) else "protocol"
            raise _FailureError(kind, repr(error)) from error

    async def _read(self) -> _Answer:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head[:-4].split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        # Both ends are ours, and both say how long an answer is. Anything else is a fault.
        length = int(headers["content-length"]) if "content-length" in headers else -1
        if not first.startswith("HTTP/1.1 ") or not 0 <= length <= MOST_BODY:
            raise _FailureError("protocol", f"{first[:80]!r} without a usable Content-Length")
        return _Answer(int(first.split(" ")[1]), headers, await self._reader.readexactly(length))

    def close(self) -> None:
        self._writer.close()


class _Runner:
    """All clients of one load, and the tally they keep together."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        _, _, secure = check_target(plan.url)
        self._context = ssl.create_default_context(cafile=plan.ca) if secure else None
        self._token = plan.token_file.read_text(encoding="utf-8").rstrip("\r\n")
        self._run = uuid.uuid4().hex[:8]
        self._numbers = itertools.count(1)
        self._latencies: list[float] = []
        self._failures: Counter[str] = Counter()
        self._versions: Counter[str] = Counter()
        self._result = Result()
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Let every client finish what it has begun, and then end."""
        self._stop.set()

    async def run(self) -> Result:
        plan, result = self._plan, self._result
        began = time.monotonic()
        result.started = _now()
        clients = [self._client(i, keep=i < plan.keep_alive) for i in range(self._clients)]
        alarm = asyncio.get_running_loop().call_later(plan.seconds, self._stop.set)
        await asyncio.gather(*clients)
        alarm.cancel()
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
        pause = self._clients / self._plan.rate
        dice = random.Random(index)  # noqa: S311 (spreads requests in time, guards nothing)
        connection: _Connection | None = None
        await self._think(pause * index / self._clients)
        for kind in itertools.islice(itertools.cycle(_MIX), index % len(_MIX), None):
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
        self, kind: str, connection: _Connection | None, *, keep: bool
    ) -> _Connection | None:
        """Send one request; return the connection if the next one may use it."""
        name = f"load-{self._run}-{next(self._numbers)}"
        message = self._message(kind, name, keep=keep)
        began = time.monotonic()
        self._result.requests += 1
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                connection = connection or await _Connection.open(self._plan, self._context)
                answer = await connection.ask(message)
            _check(kind, name, answer)
        except (_FailureError, TimeoutError) as error:
            self._fail(kind, error)
            if connection:
                connection.close()
            return None
        self._latencies.append(time.monotonic() - began)
        self._result.ok += 1
        if version := answer.headers.get("x-app-version"):
            self._versions[version] += 1
        if kind == "write":
            self._result.acknowledged.append(name)
        if keep and not answer.closes:
            return connection
        connection.close()
        return None

    def _message(self, kind: str, name: str, *, keep: bool) -> bytes:
        paths = {"hosts": f"{API}/api/hosts", "healthz": f"{API}/healthz", "portal": "/portal/"}
        body = b""
        method, path = "GET", paths.get(kind, f"{API}/api/hosts")
        if kind == "write":
            method, body = (
                "POST",
                json.dumps({"name": name, "base_url": "http://127.0.0.1"}).encode(),
            )
        return self._head(method, path, len(body), keep=keep, secret=kind != "portal") + body

    def _head(self, method: str, path: str, length: int, *, keep: bool, secret: bool) -> bytes:
        host = self._plan.server_name or urlsplit(self._plan.url).netloc
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "User-Agent: stackpin-load"]
        lines.append(f"Connection: {'keep-alive' if keep else 'close'}")
        if secret:
            lines.append(f"Authorization: Bearer {self._token}")
        if method == "POST":
            lines += ["Content-Type: application/json", f"Content-Length: {length}"]
        return "\r\n".join(lines).encode() + b"\r\n\r\n"

    def _fail(self, request: str, error: Exception) -> None:
        kind = error.kind if isinstance(error, _FailureError) else "timeout"
        detail = str(error) or f"no answer within {REQUEST_SECONDS:.0f} s"
        self._failures[kind] += 1
        if len(self._result.samples) < MOST_SAMPLES:
            sample = {"at": _now(), "request": request, "kind": kind, "detail": detail}
            self._result.samples.append(sample)

    async def _find_lost(self) -> list[str] | None:
        """Ask, page by page, which of the acknowledged writes are really there."""
        missing = set(self._result.acknowledged)
        path = f"{API}/api/hosts?limit=1000"
        before = ""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                while missing:
                    connection = await _Connection.open(self._plan, self._context)
                    head = self._head("GET", path + before, 0, keep=False, secret=True)
                    answer = await connection.ask(head)
                    connection.close()
                    hosts = json.loads(answer.body)["hosts"]
                    if not hosts:
                        break
                    missing -= {host["name"] for host in hosts}
                    before = f"&before={hosts[-1]['id']}"
        except (_FailureError, TimeoutError, ValueError, KeyError, TypeError):
            return None
        return sorted(missing)


def _check(kind: str, name: str, answer: _Answer) -> None:
    expected = 201 if kind == "write" else 200
    start = answer.body[:120].decode("utf-8", "replace")
    if answer.status != expected:
        raise _FailureError("status", f"{answer.status} instead of {expected}: {start}")
    try:
        good = _is_expected(kind, name, answer.body)
    except (ValueError, KeyError, TypeError):
        good = False
    if not good:
        raise _FailureError("body", f"unexpected body: {start}")


def _is_expected(kind: str, name: str, body: bytes) -> bool:
    if kind == "healthz":
        return body == b"ok"
    if kind == "portal":
        return b"</html>" in body
    value = json.loads(body)
    return bool(value["name"] == name) if kind == "write" else isinstance(value["hosts"], list)


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


class Load:
    """A load in a process of its own, so that nothing of the caller (gevent, say) bends it.

    with Load(plan, folder) as load:
        ...  # change the host
    assert load.result().failed == 0
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._json = folder / f"load-{uuid.uuid4().hex[:8]}.json"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the clients and return once they are running."""
        command = [sys.executable, "-m", "stackpin.lab.load", *_as_arguments(self._plan)]
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            [*command, "--json", str(self._json)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        if self._process.stdout is None or not self._process.stdout.readline():
            raise RuntimeError(f"the load did not start; exit code {self._process.wait()}")

    def stop(self) -> Result:
        """End the load early, cleanly, and return what happened."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self.result()

    def result(self) -> Result:
        """Wait for the end of the load and return what happened."""
        if self._process is None:
            raise RuntimeError("the load was never started")
        try:
            self._process.wait(self._plan.seconds + 3 * REQUEST_SECONDS)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            if self._process.stdout:
                self._process.stdout.close()
        return Result.read(self._json)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _as_arguments(plan: Plan) -> list[str]:
    arguments = []
    for name, value in asdict(plan).items():
        if value not in (None, ""):
            arguments += [f"--{name.replace('_', '-')}", str(value)]
    return arguments


async def run(plan: Plan) -> Result:
    """Load the target in this process until the time is up."""
    return await _Runner(plan).run()


async def _run_until_signal(plan: Plan) -> Result:
    runner = _Runner(plan)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, runner.stop)
    sys.stdout.write(f"load on {plan.url} for {plan.seconds:g} s\n")
    sys.stdout.flush()
    return await runner.run()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line: 0 when nothing failed and nothing was lost, 1 if so, 3 if refused."""
    defaults = {name: item.default for name, item in Plan.__dataclass_fields__.items()}
    parser = argparse.ArgumentParser(prog="load", description="Strict load on a lab host.")
    parser.add_argument("--url", required=True, help="https://ADDRESS of a lab host")
    parser.add_argument("--server-name", default="", help="name in the certificate, and Host")
    parser.add_argument("--ca", type=Path, help="certificate file to trust")
    parser.add_argument("--token-file", type=Path, required=True, help="file with the admin token")
    parser.add_argument("--seconds", type=float, default=defaults["seconds"])
    parser.add_argument("--keep-alive", type=int, default=defaults["keep_alive"])
    parser.add_argument("--one-shot", type=int, default=defaults["one_shot"])
    parser.add_argument("--rate", type=float, default=defaults["rate"], help="requests per second")
    parser.add_argument("--max-requests", type=int, default=defaults["max_requests"])
    parser.add_argument("--json", type=Path, required=True, help="where to write the result")
    parser.add_argument("--pid-file", type=Path, help="where to write the process id")
    options: dict[str, Any] = vars(parser.parse_args(arguments))
    out, pid_file = options.pop("json"), options.pop("pid_file")
    try:
        plan = Plan(**options)
    except ValueError as error:
        sys.stderr.write(f"refused: {error}\n")
        return 3
    if pid_file:
        pid_file.write_text(f"{os.getpid()}\n")
    result = asyncio.run(_run_until_signal(plan))
    beside = out.with_name(out.name + ".new")
    beside.write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")
    beside.replace(out)
    if pid_file:
        pid_file.unlink(missing_ok=True)
    return 1 if result.failed or result.lost or result.lost is None else 0


if __name__ == "__main__":
    sys.exit(main())
