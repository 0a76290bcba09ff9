"""Asks one HTTPS address again and again and tells how long it did not answer."""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

__all__ = ["Probed", "probing"]

TIMEOUT = 5.0  # seconds one request may take
PERIOD = 0.05  # seconds from one request to the next


@dataclass
class Probed:
    """What was seen: requests answered well, the others with their reason, gaps in seconds."""

    good: int = 0
    failures: list[str] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)

    @property
    def longest_gap(self) -> float:
        """Longest time between two good answers around a failure, in seconds; 0 without one."""
        return max(self.gaps, default=0.0)

    @property
    def gap(self) -> float:
        """All such times together, in seconds."""
        return sum(self.gaps)


@contextmanager
def probing(address: str, port: int, path: str) -> Iterator[Probed]:
    """Ask https://address:port/path every 50 ms during the block, each time on a new connection.

    A good answer has status 200. The certificate is not verified: the question is whether there
    is an answer. The figures are complete when the block has ended.
    """
    probed, stop = Probed(), threading.Event()
    asking = threading.Thread(target=_ask, args=(address, port, path, probed, stop), daemon=True)
    asking.start()
    try:
        yield probed
    finally:
        stop.set()
        asking.join(TIMEOUT + 1)


def _ask(address: str, port: int, path: str, probed: Probed, stop: threading.Event) -> None:
    context = ssl._create_unverified_context()  # noqa: S323 - see `probing`
    last_good, failing = time.monotonic(), False
    while not stop.is_set():
        began = time.monotonic()
        why = _once(address, port, path, context)
        now = time.monotonic()
        if why is None:
            probed.good += 1
            if failing:
                probed.gaps.append(round(now - last_good, 3))
            last_good, failing = now, False
        else:
            probed.failures.append(why)
            failing = True
        stop.wait(max(0.0, began + PERIOD - time.monotonic()))
    if failing:
        probed.gaps.append(round(time.monotonic() - last_good, 3))


def _once(address: str, port: int, path: str, context: ssl.SSLContext) -> str | None:
    connection = http.client.HTTPSConnection(address, port, timeout=TIMEOUT, context=context)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    else:
        return None if answer.status == 200 else f"status {answer.status}"
    finally:
        connection.close()
