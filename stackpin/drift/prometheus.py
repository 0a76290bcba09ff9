"""Write a drift report in Prometheus text form, for the node exporter's textfile collector."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from stackpin.drift.report import DriftReport, HostDrift
from stackpin.exposition import exposition, gauge

__all__ = ["prometheus_text"]

_HELP = {
    "stackpin_drift_checked": "1 when the host could be compared completely, else 0.",
    "stackpin_drift_in_sync": "1 when the host was checked and nothing differs, else 0.",
    "stackpin_drift_operations": "Operations that would change the host.",
    "stackpin_drift_findings": "Findings of the host about itself, by code.",
    "stackpin_release_info": "Live and wanted release of the stack; always 1.",
    "stackpin_drift_time_seconds": "When the comparison was made (Unix time).",
}


def prometheus_text(report: DriftReport) -> str:
    """Return the report as exposition text; all are gauges labelled inventory, stack and host.

    An alert on ``stackpin_drift_checked == 0`` or an old ``stackpin_drift_time_seconds`` catches
    the checks that did not happen; absence of drift alone proves nothing.
    """
    common = {"inventory": report.inventory, "stack": report.stack}
    series: dict[str, list[tuple[dict[str, str], float]]] = {name: [] for name in _HELP}
    for name, host in report.hosts.items():
        for metric, labels, value in _samples(host):
            series[metric].append(({**common, "host": name, **labels}, value))
    made = datetime.fromisoformat(report.created).timestamp()
    series["stackpin_drift_time_seconds"].append((common, made))
    return exposition(gauge(name, _HELP[name], samples) for name, samples in series.items())


def _samples(host: HostDrift) -> Iterator[tuple[str, dict[str, str], int]]:
    yield "stackpin_drift_checked", {}, int(not host.error)
    yield "stackpin_drift_in_sync", {}, int(not host.error and not host.drifted)
    yield "stackpin_drift_operations", {}, len(host.pending)
    for code, count in sorted(Counter(finding.code for finding in host.findings).items()):
        yield "stackpin_drift_findings", {"code": code}, count
    for part, release in host.releases.items():
        ids = {"part": part, "live": release.now or "", "wanted": release.wanted or ""}
        yield "stackpin_release_info", ids, 1
