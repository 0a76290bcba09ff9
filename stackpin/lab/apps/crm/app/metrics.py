"""Counters of this process, and the text form Prometheus reads."""

import gc
import os
import platform
import resource
import threading
import time
from collections import Counter
from pathlib import Path


class Metrics:
    """Counts answered requests and describes the running process."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._started = time.time()
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds = 0.0

    def count(self, method: str, status: int, seconds: float) -> None:
        """Record one answered request."""
        with self._lock:
            self._requests[method, status] += 1
            self._seconds += seconds

    def render(self, *, hosts: int, providers: int, connections: int) -> str:
        """All metrics in the Prometheus text format."""
        with self._lock:
            requests, seconds = dict(self._requests), self._seconds
        usage = resource.getrusage(resource.RUSAGE_SELF)
        out = _Page()
        out.add("active_hosts", "gauge", "Registered hosts.", hosts)
        out.add("active_providers", "gauge", "Providers with at least one import.", providers)
        out.add("db_connections_active", "gauge", "Database connections in use.", connections)
        out.head("http_requests_total", "counter", "Answered requests.")
        for (method, status), count in sorted(requests.items()):
            out.line(f'http_requests_total{{method="{method}",code="{status}"}}', count)
        out.add("http_request_seconds_total", "counter", "Time spent on answers.", seconds)
        out.head("app_info", "gauge", "The running release.")
        out.line(f'app_info{{version="{self._version}"}}', 1)
        out.head("runtime_info", "gauge", "The language runtime.")
        out.line(f'runtime_info{{python="{platform.python_version()}"}}', 1)
        out.add("runtime_threads", "gauge", "Threads now.", threading.active_count())
        collections = sum(generation["collections"] for generation in gc.get_stats())
        out.add("runtime_gc_collections_total", "counter", "Garbage collections.", collections)
        cpu = usage.ru_utime + usage.ru_stime
        out.add("process_cpu_seconds_total", "counter", "CPU time used.", cpu)
        out.add("process_start_time_seconds", "gauge", "Start, in Unix time.", self._started)
        out.add("process_resident_memory_bytes", "gauge", "Memory in use.", _resident_bytes())
        out.add("process_open_fds", "gauge", "Open file descriptors.", _open_files())
        return out.text()


class _Page:
    def __init__(self) -> None:
        self._lines: list[str] = []

    def head(self, name: str, kind: str, meaning: str) -> None:
        self._lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]

    def line(self, series: str, value: float) -> None:
        self._lines.append(f"{series} {round(value, 6)}")

    def add(self, name: str, kind: str, meaning: str, value: float) -> None:
        self.head(name, kind, meaning)
        self.line(name, value)

    def text(self) -> str:
        return "\n".join(self._lines) + "\n"


def _resident_bytes() -> int:
    # A hardened unit may hide /proc; a missing figure must not break the page.
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def _open_files() -> int:
    try:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())
    except OSError:
        return 0
