"""What is wrong with a stack on a host, from what the host answered: worst first, with a next step.

Pure: no host is asked here. Found and expected are texts for people.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any

from stackpin.care.history import collate, live_run

__all__ = ["Level", "Place", "Problem", "diagnose", "ranked", "unreachable"]

RESTARTS = 3
FULL = 95  # percent; what is below is a check's business
LOG_LINES = 8
EXPIRES = ((0, "BROKEN"), (7, "DANGER"), (30, "ODD"))  # days left

Answers = Mapping[str, Mapping[str, Any]]


class Level(IntEnum):
    """How bad: it does not serve, it may soon not, it is not as declared, it is worth knowing."""

    BROKEN = 0
    DANGER = 1
    ODD = 2
    HINT = 3


@dataclass(frozen=True)
class Place:
    """Where a question was asked; `service` is the part's name on the command line, if it is one.

    `first` is true for one part of each host: what it says of the machine counts for all.
    """

    inventory: str
    stack: str
    host: str
    part: str
    service: str = ""
    first: bool = True

    def command(self, words: str, more: str = "") -> str:
        """Return the command `words` for this stack and host; `more` follows the stack's name."""
        middle = " ".join(text for text in (self.stack, more) if text)
        return f"stackpin {words} {self.inventory} {middle} --limit {self.host}"

    def problem(
        self, level: Level, what: str, found: object, expected: object, step: str = ""
    ) -> Problem:
        """Return a problem of this place; without a `step` the next one is a deploy."""
        done = step or self.command("deploy")
        return Problem(level, self.host, self.part, what, str(found), str(expected), done)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and what to do next; `log` are lines that may say why."""

    level: Level
    host: str
    part: str
    what: str
    found: str
    expected: str
    next: str
    log: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the problem as JSON values; the level by its name."""
        return {**asdict(self), "level": self.level.name.lower(), "log": list(self.log)}


def ranked(problems: Iterable[Problem]) -> list[Problem]:
    """Return the problems worst first, each once; of the same level in the order they came."""
    once: dict[tuple[str, ...], Problem] = {}
    for one in problems:
        once.setdefault((one.host, one.part, one.what, one.found), one)
    return sorted(once.values(), key=lambda problem: problem.level)


def unreachable(place: Place, message: str) -> Problem:
    """Return the problem of a host without connection."""
    step = place.command("status")
    return place.problem(Level.BROKEN, "the host is out of reach", message, "an answer", step)


def diagnose(place: Place, told: Answers, pin: str | None = None) -> Iterator[Problem]:
    """Yield what is wrong in a part's answers, causes before what follows from them.

    `told` maps state, inspect, verify, preflight and clues to what the host answered, or to
    {"error": why not}. `pin` is the version the inventory wants.
    """
    state = told.get("state", {})
    for name, answer in told.items():
        # What is not deployed has no health; its state says so.
        if "error" in answer and (name != "verify" or state.get("live_release")):
            again = place.command("doctor")
            yield place.problem(
                Level.BROKEN, f"{name} was not answered", answer["error"], "an answer", again
            )
    if "error" not in state and state:
        yield from _state(place, state, pin)
    yield from _findings(place, told.get("inspect", {}), _stopped(state))
    yield from _checks(place, told.get("verify", {}))
    yield from _certificates(place, told.get("clues", {}))
    if place.first:
        yield from _machine(place, state.get("machine") or {})
    if state.get("installed"):
        yield from _records(place, state)
    yield from _preflight(place, told.get("preflight", {}))


def _state(place: Place, state: Mapping[str, Any], pin: str | None) -> Iterator[Problem]:
    wanted = pin or "a release"
    if not state.get("installed"):
        yield place.problem(Level.BROKEN, f"{place.part} is not installed", "nothing", wanted)
        return
    live = state.get("live_release")
    if live is None:
        yield place.problem(Level.BROKEN, f"{place.part} serves nothing", "no live release", wanted)
        return
    slot = _live(state)
    if _stopped(state):
        step = place.command("start", place.service)
        what = f"{place.part}@{state['live_slot']} does not run"
        yield place.problem(Level.BROKEN, what, slot["active"], "active", step)
    elif int(slot.get("restarts") or 0) >= RESTARTS:
        found = f"{slot['restarts']} restarts since it was started"
        step = place.command("logs", place.service)
        yield place.problem(Level.DANGER, f"{place.part} keeps restarting", found, "none", step)
    versions = {one.get("id"): str(one.get("version")) for one in state.get("releases") or []}
    version = versions.get(live) or str(live).rpartition("-")[0]
    if pin is not None and version != pin:
        yield place.problem(Level.ODD, "another version is live than is pinned", version, pin)
    if state.get("nginx_reload_pending"):
        what = "nginx was not reloaded since its files changed"
        yield place.problem(Level.DANGER, what, "a reload is due", "none due")


def _records(place: Place, state: Mapping[str, Any]) -> Iterator[Problem]:
    """Tell who works on it, and how the last run ended where that was not well."""
    lock = state.get("lock")
    if lock:
        reason = f" ({lock['reason']})" if lock.get("reason") else ""
        found = f"held by {lock.get('owner')}{reason}, ends in {float(lock.get('left') or 0):.0f} s"
        step = place.command("lock")
        yield place.problem(Level.HINT, "somebody is at work", found, "no lease", step)
    runs = [run for run in collate(place.host, state.get("journal") or [], live_run(state))
            if run.run]  # fmt: skip
    if runs and (runs[-1].event in {"failed", "reverted"} or "broken off" in runs[-1].outcome):
        last = runs[-1]
        found = f"{last.started[:19]} {last.command}: {last.outcome}"
        found += f": {last.reason}" if last.reason else ""
        step = f"stackpin evidence list {place.inventory} {place.stack}"
        yield place.problem(Level.HINT, "the last run did not succeed", found, "done", step)


_FINDINGS: dict[str, tuple[Level, str]] = {  # code: how bad, and the command that helps
    "slot-not-running": (Level.BROKEN, "start"),
    "container-not-running": (Level.BROKEN, "start"),
    "maintenance-on": (Level.BROKEN, "maintenance off"),
    "database-damaged": (Level.BROKEN, "restore"),
    "docker-not-answering": (Level.BROKEN, "preflight"),
    "pending-guard": (Level.DANGER, "history"),
    "unfinished-run": (Level.DANGER, "deploy"),
    "exe-deleted": (Level.DANGER, "restart"),
    "running-not-installed": (Level.DANGER, "restart"),
    "both-slots-running": (Level.DANGER, "deploy"),
    "slot-journal-disagreement": (Level.DANGER, "deploy"),
    "restarts": (Level.DANGER, "logs"),
    "stray-listener": (Level.ODD, "drift"),
}


def _findings(place: Place, answer: Mapping[str, Any], stopped: bool) -> Iterator[Problem]:
    for one in answer.get("findings") or []:
        code = str(one["code"])
        if stopped and code in {"slot-not-running", "container-not-running"}:
            continue  # said already
        level, words = _FINDINGS.get(code, (Level.ODD, "deploy"))
        more = "latest" if words == "restore" else ""
        if words in {"start", "restart", "logs"}:
            more = place.service
        what = str(one["message"]).partition(";")[0]
        step = place.command(words, more)
        yield place.problem(level, what, one["found"], one["expected"], step)


_CHECKS = (("disk", "prune"), ("memory", "status"), ("owner", "deploy"), ("certificate", "deploy"))


def _checks(place: Place, gate: Mapping[str, Any]) -> Iterator[Problem]:
    log = tuple(str(line) for line in (gate.get("log") or [])[-LOG_LINES:])
    for one in gate.get("results") or []:
        if one["ok"]:
            continue
        level = Level.BROKEN if one["required"] else Level.DANGER
        words = next((w for name, w in _CHECKS if str(one["name"]).startswith(name)), "logs")
        step = place.command(words, _meant(place, str(one["name"])) if words == "logs" else "")
        found = place.problem(
            level, f"check {one['name']} fails", one["got"], one["expected"], step
        )
        yield Problem(**{**vars(found), "log": log})
        log = ()  # once is enough


def _meant(place: Place, check: str) -> str:
    """Return the service a check is about: of the whole's, the one it is named after."""
    words, last = check.split("-", 1), place.service
    return words[1] if last and len(words) == 2 and words[0] in {"runs", "answers", "log"} else last


def _certificates(place: Place, clues: Mapping[str, Any]) -> Iterator[Problem]:
    for one in clues.get("certificates") or []:
        what = f"certificate {one['path']}"
        step = f"Put a new one in place (a self-signed one is renewed): {place.command('deploy')}"
        if one["days"] is None:
            yield place.problem(Level.BROKEN, what, one["problem"], "a certificate", step)
            continue
        for days, level in EXPIRES:
            if one["days"] < days:
                found, wanted = f"{one['days']:g} days left", f"at least {EXPIRES[-1][0]}"
                yield place.problem(Level[level], what, found, wanted, step)
                break


def _machine(place: Place, machine: Mapping[str, Any]) -> Iterator[Problem]:
    for key, what, words in (("disk_mb", "disk", "prune"), ("memory_mb", "memory", "status")):
        use = machine.get(key) or {}
        if not use.get("total"):
            continue
        percent = 100 * use["used"] / use["total"]
        if percent >= FULL:
            found = f"{percent:.0f} % of {use['total']} MiB used"
            step = place.command(words)
            wanted = f"below {FULL} %"
            yield place.problem(Level.DANGER, f"{what} is nearly full", found, wanted, step)


def _preflight(place: Place, answer: Mapping[str, Any]) -> Iterator[Problem]:
    for item in answer.get("items") or []:
        if item["ok"]:
            continue
        fails = item["severity"] == "fail"
        what = f"{'a deploy would be refused' if fails else 'preflight warns'}: {item['name']}"
        step = f"{item['remedy']} Then: {place.command('preflight')}".strip()
        level = Level.ODD if fails else Level.HINT
        yield place.problem(level, what, item["measured"], item["expected"], step)


def _live(state: Mapping[str, Any]) -> Mapping[str, Any]:
    return (state.get("slots") or {}).get(state.get("live_slot")) or {}


def _stopped(state: Mapping[str, Any]) -> bool:
    slot = _live(state)
    return bool(state.get("live_release")) and slot.get("active") not in (None, "active", "running")
