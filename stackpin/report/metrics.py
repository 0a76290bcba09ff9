"""The figures of a run: a JSON document per part, and all of them as Prometheus text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stackpin.exposition import exposition, gauge
from stackpin.rollout.model import Run

__all__ = ["measure", "metrics_text"]

Samples = list[tuple[dict[str, str], float]]
_HELP = {
    "stackpin_run_info": "What the last run did: command, version and outcome; always 1.",
    "stackpin_run_success": "1 when the last run ended with exit code 0, else 0.",
    "stackpin_run_exit_code": "Exit code of the last run.",
    "stackpin_run_time_seconds": "When the last run ended (Unix time).",
    "stackpin_run_seconds": "How long the last run took.",
    "stackpin_run_stage_seconds": "Time in a stage; host is empty for stages before the hosts'.",
    "stackpin_run_hosts": "Hosts of the last run by outcome.",
    "stackpin_run_health_score": "Score of the health checks after the last run, 0 to 1.",
}


def measure(run: Run, part: str, outcome: str, exit_code: int) -> dict[str, Any]:
    """Return the figures of one part: the document `metrics.json`. Times in seconds."""
    finished = datetime.now(UTC)
    rolls = [roll for roll in run.rolls if roll.part == part]
    return {
        "version": 1,
        "inventory": Path(run.request.inventory).stem,
        "stack": part,
        "command": run.request.command,
        "run": run.id,
        "release_version": run.versions(),
        "outcome": outcome,
        "exit_code": exit_code,
        "started": run.started.isoformat(timespec="milliseconds"),
        "finished": finished.isoformat(timespec="milliseconds"),
        "seconds": round((finished - run.started).total_seconds(), 3),
        "stages": _sums(run.timings),
        "host_stages": {roll.host: _sums(roll.timings) for roll in rolls},
        "hosts": dict(sorted(Counter(roll.outcome for roll in rolls).items())),
        "scores": {roll.host: roll.checks["score"] for roll in rolls if roll.checks},
    }


def metrics_text(measures: Sequence[Mapping[str, Any]]) -> str:
    """Return what `measure` told of several parts as exposition text, all gauges."""
    series: dict[str, Samples] = {name: [] for name in _HELP}
    for one in measures:
        common = {"inventory": str(one["inventory"]), "stack": str(one["stack"])}
        for name, labels, value in _samples(one):
            series[name].append(({**common, **labels}, value))
    return exposition(gauge(name, _HELP[name], samples) for name, samples in series.items())


def _sums(timings: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Add up by stage: a host that was taken back may have been through one twice."""
    found: dict[str, float] = {}
    for one in timings:
        stage = str(one["stage"])
        found[stage] = round(found.get(stage, 0.0) + float(one["seconds"]), 3)
    return found


def _samples(one: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str], float]]:
    ids = {"command": one["command"], "version": one["release_version"], "outcome": one["outcome"]}
    yield "stackpin_run_info", ids, 1
    yield "stackpin_run_success", {}, int(one["exit_code"] == 0)
    yield "stackpin_run_exit_code", {}, one["exit_code"]
    ended = datetime.fromisoformat(one["finished"]).timestamp()
    yield "stackpin_run_time_seconds", {}, ended
    yield "stackpin_run_seconds", {}, one["seconds"]
    for host, stages in {"": one["stages"], **one["host_stages"]}.items():
        for stage, seconds in stages.items():
            yield "stackpin_run_stage_seconds", {"host": host, "stage": stage}, seconds
    for outcome, number in one["hosts"].items():
        yield "stackpin_run_hosts", {"outcome": outcome}, number
    for host, score in one["scores"].items():
        yield "stackpin_run_health_score", {"host": host}, score
