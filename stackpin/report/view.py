"""What the page of a run shows, worked out of its evidence documents: plain values, no markup.

Documents of records made before there were pages lack some; what they would tell is left out.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from stackpin.report.words import TONES, duration, size, use

__all__ = ["machine_rows", "view"]

Values = Mapping[str, Any]
FEW = 3  # hosts whose stages are all shown at once
SHOWN_DIFF = 400  # lines of one change; plan.json has the rest


def view(about: Values, documents: Values, files: Sequence[str]) -> dict[str, Any]:
    """Return the values of report.html.j2; `about` as in the manifest, `files` of the record."""
    run = documents.get("06-run.json") or {}
    times = documents["05-timings.json"]
    hosts: Values = run.get("hosts") or {}
    return {
        "about": about,
        "title": f"{about['stack']} {about['version']} on {about['inventory']}",
        "word": _word(about["outcome"]),
        "tone": _tone(about),
        "started": _moment(times["started"]),
        "finished": _moment(times["finished"]),
        "took": duration(times["seconds"]),
        "why": run.get("why") or "",
        "rolls": [{**roll, "tone": _roll_tone(roll)} for roll in run.get("rolls") or []],
        "failures": [
            _failure(name, one) for name, one in hosts.items() if one["code"] not in {0, 2}
        ],
        "back": _way_back(documents.get("rollback.json") or {}),
        "lanes": list(_lanes(run, times, hosts)),
        "gates": list(_gates(documents)),
        "machines": [
            {"host": name, "rows": machine_rows(one["machine"]["before"], one["machine"]["after"])}
            for name, one in hosts.items()
            if any(one["machine"].values())
        ],
        "changes": list(_changes(documents.get("plan.json") or {}, str(about["stack"]))),
        "artifacts": list(_artifacts(documents["01-artifact.json"])),
        "notes": run.get("notes") or [],
        "files": [*files, "report.html"] if "report.html" not in files else files,
    }


def _moment(text: str) -> str:
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S} UTC"


def _word(outcome: str) -> str:
    return {"serving": "serving", "rolled-back": "rolled back"}.get(outcome, outcome)


def _tone(about: Values) -> str:
    if about["exit_code"] == 0:
        return "ok"
    return "warn" if about["exit_code"] in {2, 4} else "bad"


def _roll_tone(roll: Values) -> str:
    if roll["code"] == 5:
        return "bad"
    return "warn" if roll["code"] == 1 and roll["outcome"] == "serving" else TONES[roll["outcome"]]


def _failure(host: str, one: Values) -> dict[str, Any]:
    gate = one["gate"] or {}
    failed = [check for check in gate.get("results") or [] if not check["ok"]]
    first, *rest = (one["error"] or "").splitlines() or [""]
    return {
        "host": host,
        "word": one["word"],
        "stage": one["stage"] or "verify",
        # The checks that follow say it in full.
        "error": textwrap.shorten(first, 200, placeholder=" …") if failed else first,
        "more": rest,
        "checks": failed,
        "log": gate.get("log") or one["log"],
        "serving": one["serving"],
    }


def _way_back(document: Values) -> list[dict[str, Any]]:
    """Return the inverse steps in the order done, with `done` and `tone`."""
    what = {"abort": "took back what was begun", "return": "returned", "rollback": "rolled back"}
    return [
        {
            **step,
            "kind": what.get(step["kind"], step["kind"]),
            "done": "proven serving" if step["outcome"] == "rolled-back" else step["outcome"],
            "tone": "ok" if step["outcome"] == "rolled-back" else "bad",
        }
        for step in document.get("steps") or []
    ]


def _lanes(run: Values, times: Values, hosts: Values) -> Iterator[dict[str, Any]]:
    """Yield {name, tone, open, took, bars}; a bar's `left` and `width` are percent of the run."""
    total = max(float(times["seconds"]), 0.001)
    own: Values = times["hosts"]
    bad = {name for name, one in hosts.items() if one["code"] not in {0, 2}}
    if run.get("opening"):
        yield _lane("before the hosts' own stages", run["opening"], total, is_open=len(own) <= FEW)
    for name, timings in own.items():
        if timings:
            failed = hosts[name]["stage"] if name in bad else None
            is_open = len(own) <= FEW or name in bad
            yield _lane(name, timings, total, is_open=is_open, failed=failed)


def _lane(
    name: str, timings: Sequence[Values], total: float, *, is_open: bool, failed: str | None = None
) -> dict[str, Any]:
    bars, end = [], 0.0
    for one in timings:
        seconds = float(one["seconds"])
        at = float(one.get("at", end))  # older records: one after the other
        end = at + seconds
        stage = str(one["stage"])
        back = stage == "abort" or stage.startswith("back: ")
        bars.append(
            {
                "stage": "going back" if stage == "abort" else stage,
                "at": at,
                "took": duration(seconds),
                "left": round(min(100 * at / total, 99.5), 2),
                "width": round(min(100 * seconds / total, 100.0), 2),
                "tone": "bad" if stage == failed else "warn" if back else "go",
            }
        )
    took = duration(sum(float(one["seconds"]) for one in timings))
    return {"name": name, "open": is_open, "took": took, "bars": bars, "failed": failed}


def _gates(documents: Values) -> Iterator[dict[str, Any]]:
    for host, gate in documents["03-api-checks.json"].items():
        if gate is None:
            yield {"host": host, "score": None, "percent": 0, "results": []}
            continue
        percent = round(100 * float(gate["score"]))
        yield {
            "log": [],
            **gate,
            "host": host,
            "percent": percent,
            "needs": round(100 * gate["threshold"]),
        }


def machine_rows(before: Values | None, after: Values | None) -> list[dict[str, str]]:
    """Return {label, before, after, tone} for load, memory, swap and disk; "" is not known."""
    rows = []
    for key, label in (("memory_mb", "Memory"), ("swap_mb", "Swap"), ("disk_mb", "Disk")):
        sides = [use((side or {}).get(key)) for side in (before, after)]
        if any(sides):
            rows.append({"label": label, "before": sides[0], "after": sides[1]})
    loads = [_load(side) for side in (before, after)]
    return [{"label": "CPU load (1, 5, 15 min)", "before": loads[0], "after": loads[1]}, *rows]


def _load(machine: Values | None) -> str:
    if not machine or not machine.get("load"):
        return ""
    return " ".join(f"{one:.2f}" for one in machine["load"]) + f" on {machine['cpus']} CPUs"


def _changes(plan: Values, part: str) -> Iterator[dict[str, Any]]:
    """Yield {host, ops, same}: the operations that would change it, how many would not."""
    for host, found in (plan.get("hosts") or {}).items():
        ops = [op for op in found["ops"] if op["part"] == part]
        changing = [
            {**op, "changes": [_change(change) for change in op["changes"]]}
            for op in ops
            if op["verdict"] != "no-change"
        ]
        if changing:
            yield {"host": host, "ops": changing, "same": len(ops) - len(changing)}


def _change(change: Values) -> dict[str, Any]:
    diff = list(change.get("diff") or ())
    marks = {"+": "add", "-": "del", "@": "at"}
    shown = [{"text": line, "mark": marks.get(line[:1], "")} for line in diff[:SHOWN_DIFF]]
    return {**change, "diff": shown, "cut": max(0, len(diff) - SHOWN_DIFF)}


def _artifacts(document: Values) -> Iterator[dict[str, str]]:
    """Yield {name, digest, size, origin} of the file or the images a release was made of."""
    artifact = document.get("artifact")
    if artifact:
        yield {
            "name": artifact["path"],
            "digest": f"sha256:{artifact['sha256']}",
            "size": size(artifact["size"]),
            "origin": _origin(artifact.get("origin") or {}),
        }
    for role, image in (document.get("images") or {}).items():
        name, _, digest = str(image).partition("@")
        yield {"name": f"{role}: {name}", "digest": digest, "size": "", "origin": ""}


def _origin(origin: Values) -> str:
    """Say where an artifact came from; empty for a file that lay here already."""
    told = [origin.get(key) for key in ("repo", "ref", "url", "image")]
    said = " ".join(str(one) for one in told if one)
    return f"{said} at commit {origin['commit']}" if origin.get("commit") else said
