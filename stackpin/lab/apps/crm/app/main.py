"""From start to end of the process."""

import signal
import sqlite3
import sys

from ...serving.crash import crash_after
from ...serving.httpd import Server, listen
from .app import App
from .auth import Authenticator
from .context import Context, log
from .metrics import Metrics
from .migrations import MigrationError, migrate, steps_of
from .packs import PackRepository
from .releases import RELEASES, Release
from .settings import Settings, SettingsError, load
from .store import Database
from .version import VERSION

NAME = "sub2api-cn-relay-manager"
STOP_SECONDS = 9.0
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
COMMON_HEADERS = {
    "X-App-Version": VERSION,
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def main() -> int:
    """Run until a stop signal; the exit code."""
    # Blocked everywhere and taken with sigwait: no handler ever interrupts a thread at work.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        settings = load()
        return _run(settings, RELEASES[VERSION])
    except (SettingsError, MigrationError) as error:
        return _fail(str(error))
    except sqlite3.Error as error:
        return _fail(f"the database cannot be used: {error}")


def _run(settings: Settings, release: Release) -> int:
    database = Database(settings.dsn)
    applied = migrate(database.anchor, steps_of(release))
    if release.listens_after and signal.sigtimedwait(STOP_SIGNALS, release.listens_after):
        database.close()
        return 0
    try:
        listener = listen(settings.host, settings.port)
    except OSError as error:
        return _fail(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}")
    context = Context(
        settings=settings,
        release=release,
        database=database,
        auth=Authenticator(settings, database),
        packs=PackRepository(settings.repo_root),
        metrics=Metrics(VERSION),
    )
    host, port = listener.getsockname()[:2]
    server = Server(listener, App(context), COMMON_HEADERS)
    server.start()
    done = ", ".join(map(str, applied)) or "none"
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    log(f"{NAME} {VERSION} listens on {where}, database {settings.dsn.path}, migrations: {done}")
    if release.dies_after is not None:
        crash_after(release.dies_after, f"{NAME}: fatal error: nil dispatch table")
    signal.sigwait(STOP_SIGNALS)
    finished = server.stop(STOP_SECONDS)
    if finished:  # else a straggler still holds a connection, and SQLite is safe without us
        database.close()
    log(f"{NAME} {VERSION} stopped" + ("" if finished else "; some requests were cut off"))
    return 0


def _fail(message: str) -> int:
    sys.stderr.write(f"{NAME} {VERSION}: {message}\n")
    return 1
