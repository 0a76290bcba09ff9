"""Sockets: a thread per connection, and an end that finishes what it began."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from .answers import Request
from .api import Api
from .database import Postgres
from .loads import RedisLoads
from .resp import Redis
from .settings import INSECURE_KEY, Settings
from .store import SqlStore

__all__ = ["Server", "main"]

PORT = 8888
MAX_BODY = 50 * 1024 * 1024
IDLE_SECONDS = 30.0
GRACE_SECONDS = 8.0


class Server(ThreadingHTTPServer):
    """The HTTP server; `stop()` from any thread ends `serve_forever`."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, address: tuple[str, int], api: Api) -> None:
        self.api = api
        self.stopping = False
        self.busy = 0
        self._idle = threading.Condition()
        super().__init__(address, Handler)

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Count a request as under way."""
        with self._idle:
            self.busy += 1
        try:
            yield
        finally:
            with self._idle:
                self.busy -= 1
                self._idle.notify_all()

    def stop(self) -> None:
        """Take no more connections; `drained` then waits for the requests under way."""
        self.stopping = True
        threading.Thread(target=self.shutdown, daemon=True).start()

    def drained(self, seconds: float = GRACE_SECONDS) -> bool:
        """Wait until no request is under way; False when the time was too short."""
        with self._idle:
            return self._idle.wait_for(lambda: self.busy == 0, seconds)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True
    wbufsize = -1

    def _serve(self) -> None:
        with self.server.working():
            length = int(self.headers.get("Content-Length") or 0)
            if length > MAX_BODY:
                self.send_error(413)
                return
            body = self.rfile.read(length)
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = self.server.api.answer(Request(self.command, self.path, body, headers))
            content = answer.json()
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            for name, value in answer.headers:
                self.send_header(name, value)
            if self.server.stopping:
                self.send_header("Connection", "close")
                self.close_connection = True
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)
            self.wfile.flush()

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = _serve  # noqa: N815 - names given

    def log_message(self, *_args: object) -> None:
        """Heartbeats would fill the log."""


def logger(settings: Settings) -> Callable[[str], None]:
    """Return a function that writes a line to stdout and, with LOG_DIR, to a file there."""
    path = Path(settings.log_dir, "xingrin.log") if settings.log_dir else None

    def say(line: str) -> None:
        text = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {line}\n"
        sys.stdout.write(text)
        sys.stdout.flush()
        # A full or missing log directory is no reason to stop serving.
        with contextlib.suppress(OSError):
            if path and path.parent.is_dir():
                with path.open("a", encoding="utf-8") as log:
                    log.write(text)

    return say


def main() -> int:
    """Serve until SIGTERM or SIGINT."""
    settings = Settings.read()
    say = logger(settings)
    redis = Redis(settings.redis_host, settings.redis_port, settings.redis_db)
    api = Api(SqlStore(Postgres(settings)), RedisLoads(redis), settings, say)
    server = Server(("0.0.0.0", PORT), api)  # noqa: S104 - inside a container
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    if settings.secret_key == INSECURE_KEY:
        say("warning: SECRET_KEY is not set, everybody knows the key that is used instead")
    say(f"serving {settings.release or 'unknown'} as {settings.image_tag or 'unknown'} on {PORT}")
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    started = time.monotonic()
    done = server.drained()
    say(f"stopped after {time.monotonic() - started:.2f} s{'' if done else ', requests were cut'}")
    # Idle connections have threads that still wait for their next request.
    os._exit(0)
