"""From start to end of a service's process."""

import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable

from ...serving.crash import crash_after
from ...serving.httpd import Server, listen
from . import console, gate, orchestrator, probe, snap
from .database import Database
from .releases import RELEASES, Release
from .service import Context, Service, log
from .settings import SettingsError, load
from .version import VERSION

__all__ = ["SERVICES", "main"]

WITH_DATABASE = {
    "console": console.service,
    "orchestrator": orchestrator.service,
    "probe": probe.service,
    "snap": snap.service,
}
SERVICES = ("gate", *WITH_DATABASE)
STOP_SECONDS = 10.0
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
HEADERS = {"X-App-Version": VERSION}


def main(name: str) -> int:
    """Run the service `name` until it is told to stop; the exit code."""
    if name == "gate" and (code := _gate_options(sys.argv[1:])) is not None:
        return code
    if name == "console":
        for number in STOP_SIGNALS:
            signal.signal(number, _death())
    else:
        # Blocked everywhere and taken with sigwait: no handler ever interrupts a thread at work.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    release = RELEASES[VERSION]
    try:
        settings = load(os.environ)
        if name == "gate":
            return _run(name, gate.service(settings, release), release)
        database = Database(settings, release.schema)
        service = WITH_DATABASE[name](Context(settings, release, database))
        code = _run(name, service, release)
        database.close()
    except (SettingsError, OSError) as error:
        return _fail(name, str(error))
    except sqlite3.Error as error:
        return _fail(name, f"the database cannot be used: {error}")
    return code


def _run(name: str, service: Service, release: Release) -> int:
    listeners = []
    for door in service.doors:
        try:
            listeners.append(listen(door.host, door.port))
        except OSError as error:
            return _fail(name, f"listen tcp {door.host}:{door.port}: bind: {error.strerror}")
    servers = [
        Server(listener, door.answer, HEADERS)
        for listener, door in zip(listeners, service.doors, strict=True)
    ]
    for server in servers:
        server.start()
    ending = threading.Event()
    worker = threading.Thread(target=_work, args=(name, service, ending), daemon=True)
    worker.start()
    ports = ", ".join(str(door.port) for door in service.doors) or "none"
    log(f"infra-core {name} {VERSION} listens on port {ports}")
    if release.dies == name:
        crash_after(release.dies_after, f"infra-core {name}: fatal error: concurrent map writes")
    while name == "console":
        signal.pause()  # its end is the signal itself
    signal.sigwait(STOP_SIGNALS)
    ending.set()
    deadline = time.monotonic() + STOP_SECONDS
    # The public door last: what it passes on is finished before.
    done = [server.stop(max(0.0, deadline - time.monotonic())) for server in reversed(servers)]
    worker.join(max(0.0, deadline - time.monotonic()))
    log(f"infra-core {name} stopped" + ("" if all(done) else "; some requests were cut off"))
    return 0


def _work(name: str, service: Service, ending: threading.Event) -> None:
    """Do the service's work now, and again as often as it asks, until the end."""
    while True:
        try:
            service.work()
        except sqlite3.Error as error:
            log(f"warning: {name}: {error}")
        if ending.wait(service.every):
            return


def _gate_options(arguments: list[str]) -> int | None:
    """Answer -version, refuse any other option; the other services ignore theirs."""
    if arguments and arguments[0] in {"-version", "--version"}:
        sys.stdout.write(f"infra-core gate {VERSION}\n")
        return 0
    if arguments and arguments[0].startswith("-"):
        sys.stderr.write(f"flag provided but not defined: {arguments[0]}\n")
        return 2
    return None


def _death() -> Callable[..., None] | signal.Handlers:
    """Choose what a program without a handler does: it ends at once, in the middle of its work."""
    if os.getpid() != 1:
        return signal.SIG_DFL
    # The kernel keeps default actions from a container's first process; Go's runtime, which the
    # product is built with, then ends by itself with 2.
    return lambda *_: os._exit(2)


def _fail(name: str, message: str) -> int:
    sys.stderr.write(f"infra-core {name} {VERSION}: {message}\n")
    return 1
