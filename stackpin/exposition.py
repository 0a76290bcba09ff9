"""Prometheus text, and how it reaches a file that a collector may read at any moment."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

__all__ = ["exposition", "gauge", "replace"]


class _Fixed(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics


def gauge(name: str, text: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> Metric:
    """Return a gauge called `name` with a sample per (labels, value); `text` is its help."""
    metric = GaugeMetricFamily(name, text)
    for labels, value in samples:
        metric.add_sample(name, dict(labels), value)
    return metric


def exposition(metrics: Iterable[Metric]) -> str:
    """Return `metrics` as Prometheus exposition text; those without samples are left out."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Fixed(metric for metric in metrics if metric.samples))
    return generate_latest(registry).decode()


def replace(path: Path, text: str) -> None:
    """Replace the file at `path` in one step, readable by everybody: collectors run as others.

    Raises OSError.
    """
    # Not ending in .prom: a collector reads every such file of its folder.
    staging = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        staging.chmod(0o644)
        staging.replace(path)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise
