"""Join the reports of the shards of one drift check into the report of all hosts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from pydantic import TypeAdapter, ValidationError

from stackpin.drift.report import VERSION, DriftReport, HostDrift
from stackpin.drift.shards import Shard
from stackpin.errors import Refused

__all__ = ["NoReport", "merged", "parsed"]

_REPORT = TypeAdapter(DriftReport)


class NoReport(Refused):
    """A document of a drift check that failed before it could report anything."""


def parsed(file: str, text: str) -> DriftReport:
    """Read what `stackpin drift --shard --json` printed into `file`; Refused for anything else."""
    try:
        document = json.loads(text)
        if isinstance(document, dict) and document.get("error") and "hosts" not in document:
            raise NoReport(f"{file}: no report, that check failed: {document['error']['message']}")
        report = _REPORT.validate_python(document)
        if document["version"] != VERSION:
            raise Refused(f"{file}: a drift report of version {document['version']}, not {VERSION}")
        datetime.fromisoformat(report.created)
        if report.shard is None:
            raise Refused(f"{file}: the report of a whole check; only shards can be merged")
        Shard.parse(report.shard)
    except (ValidationError, ValueError, KeyError, TypeError):
        raise Refused(f"{file}: not what `stackpin drift --json` prints") from None
    return report


def merged(reports: Mapping[str, DriftReport], *, partial: bool = False) -> DriftReport:
    """Return the report of all hosts, made of those of the shards, by file.

    Refused when they are not the shards of one check, each once: of the same inventory, stack,
    version of Stackpin, number of shards, and hosts to split. With `partial` shards may be missing:
    their hosts were not checked, and the report says so. It is as old as the oldest of them.
    """
    shards: dict[int, str] = {}
    first_file, first = next(iter(reports.items()))
    for file, report in reports.items():
        for what, mine, other in (
            ("inventory", report.inventory, first.inventory),
            ("stack", report.stack, first.stack),
            ("version of Stackpin", report.stackpin, first.stackpin),
            ("number of shards", _shard(report).count, _shard(first).count),
            ("list of hosts", report.among, first.among),
        ):
            if mine != other:
                values = "" if isinstance(mine, tuple) else f": {mine}, not {other}"
                raise Refused(f"{file}: of another {what} than {first_file}{values}")
        index = _shard(report).index
        if index in shards:
            raise Refused(f"{file}: shard {report.shard} again; {shards[index]} has it too")
        shards[index] = file
    count = _shard(first).count
    missing = [str(Shard(index, count)) for index in range(1, count + 1) if index not in shards]
    if missing and not partial:
        raise Refused(
            f"missing: shard {', '.join(missing)}; name its report as well, or merge what there "
            "is with --partial"
        )
    hosts = {name: host for report in reports.values() for name, host in report.hosts.items()}
    if len(hosts) != sum(len(report.hosts) for report in reports.values()):
        raise Refused("a host is in two of the reports: they are not the shards of one check")
    absent = f"in none of the reports (missing: shard {', '.join(missing)})" if missing else ""
    for name in set(first.among) - set(hosts):
        hosts[name] = HostDrift({}, error=absent or "in none of the reports")
    return replace(
        first,
        created=min(report.created for report in reports.values()),
        hosts=dict(sorted(hosts.items())),
        notes=tuple(dict.fromkeys(note for report in reports.values() for note in report.notes)),
        shard=None,
        among=(),
    )


def _shard(report: DriftReport) -> Shard:
    return Shard.parse(report.shard or "")
