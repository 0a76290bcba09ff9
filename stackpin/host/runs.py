"""run.json: what the current or last run on a stack has proven so far.

Document: {run, release, from_release, from_slot, to_slot, stage, doing, mode, command, who, reason,
first, started, updated, lock_token, pid, pid_start, boot, options, ...}. `stage` is the last stage
that is done, or how the run ended; `doing` is the stage at work, null between two stages.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stackpin.host import lock
from stackpin.host.clock import boot_id, now_text, running_seconds
from stackpin.host.disk import read_json, write_json
from stackpin.host.errors import HostError, refused
from stackpin.host.stack import Stack

__all__ = [
    "DONE",
    "ORDER",
    "ended",
    "enter",
    "expired",
    "load",
    "load_pending",
    "process_mark",
    "require",
    "save",
    "stale",
]

Run = dict[str, Any]

# Command -> what run.json says once it is done, in the only order there is.
DONE = {
    "begin": "begun",
    "rehearse": "rehearsed",
    "start": "started",
    "gate": "gated",
    "switch": "switched",
    "probe": "probed",
    "confirm": "confirmed",
    "retire": "retired",
}
ORDER = list(DONE.values())
ENDS = ("retired", "reverted", "failed", "broken")
CLOCK_SLACK = 0.2  # seconds a timer may be early


def load(stack: Stack) -> Run | None:
    """Return the current or last run; None when there never was one."""
    return read_json(stack.run_file)


def save(stack: Stack, run: Run, **changes: object) -> Run:
    """Write the run with `changes`; call under the mutex."""
    run.update(changes)
    run["updated"] = now_text()
    write_json(stack.run_file, run)
    return run


def ended(run: Run | None) -> bool:
    """Tell whether nothing is left to do for this run."""
    return run is None or run.get("stage") in ENDS


def enter(stack: Stack, run_id: object, command: str) -> tuple[Run, bool]:
    """Begin stage `command` of a run; call under the mutex.

    Returns the run and whether the stage was done before (then nothing is to be done).
    Raises HostError(refused): another run, an ended run, a stage out of order; HostError(gate or
    broken) when the host took the switch back meanwhile.
    """
    run = load(stack)
    if run is None or run.get("run") != run_id:
        current = None if run is None else run.get("run")
        raise refused(
            f"run {run_id} of {stack.name} is not the current one ({current or 'none'}); "
            "begin a new one",
            current=current,
        )
    stage = str(run["stage"])
    wanted = ORDER.index(DONE[command])
    if stage in ORDER and ORDER.index(stage) >= wanted:
        return run, True
    if ended(run) or run.get("doing") == "abort":
        raise undone(stack, run)
    if ORDER.index(stage) != wanted - 1:
        raise refused(
            f"run {run_id}: {command} is out of order; it is {stage}, {ORDER[wanted - 1]} must "
            "come first",
            stage=stage,
        )
    save(stack, run, doing=command)
    return run, False


def require(stack: Stack, run: Run, doing: str) -> Run:
    """Return the run as it is now if it is still in stage `doing`; call before each change.

    Raises HostError(gate, broken or refused) when the guard, an abort or another run overtook it.
    """
    now = load(stack)
    if now is not None and now.get("run") == run["run"]:
        if now.get("doing") == doing and not ended(now):
            return now
        raise undone(stack, now)
    raise refused(
        f"run {run['run']} was replaced by {None if now is None else now.get('run')}; begin again"
    )


def undone(stack: Stack, run: Run) -> HostError:
    """Make the error that tells how the host ended a run somebody still works on."""
    kind = {"reverted": "gate", "failed": "gate", "broken": "broken"}.get(str(run["stage"]))
    record = {key: run.get(key) for key in ("stage", "doing", "reason", "serving", "proven")}
    if kind == "gate" and not run.get("first") and run.get("proven") is False:
        kind = "broken"
    why = run.get("end_reason") or "no reason recorded"
    if kind is None:
        return refused(f"run {run['run']} is {run['stage']}, doing {run.get('doing')}", **record)
    serving = run.get("serving") or "nothing"
    return HostError(
        "gate" if kind == "gate" else "broken",
        f"run {run['run']} of {stack.name} was {run['stage']} on the host: {why}; "
        f"serving now: {serving}",
        {**record, "end_reason": why},
    )


def load_pending(stack: Stack) -> Run | None:
    """Return the armed guard: {token, run, from, to, deadline, deadline_running, boot}."""
    return read_json(stack.pending_file)


def expired(pending: Run) -> bool:
    """Tell whether a guard's time is over; a restart of the host always ends it.

    Judged by the time since start, so that setting the clock neither fires nor delays it.
    """
    if pending.get("boot") != boot_id():
        return True
    return running_seconds() + CLOCK_SLACK >= float(pending["deadline_running"])


def stale(stack: Stack, run: Run) -> str | None:
    """Return why nobody drives this open run any more; None while somebody does."""
    if ended(run):
        return None
    pending = load_pending(stack)
    if pending is not None and pending.get("run") == run["run"] and expired(pending):
        return "not confirmed by deadline"
    if run.get("mode") == "operator":
        lease = lock.current(stack)
        if lease is None or lease.get("token") != run.get("lock_token"):
            return "operator vanished"
        return None
    mark = {key: run.get(key) for key in ("pid", "pid_start", "boot")}
    return None if process_mark(mark["pid"]) == mark else "its process died"


def process_mark(pid: object) -> dict[str, object]:
    """Return what identifies a process for good: {pid, pid_start, boot}; pid_start null if dead."""
    start: str | None = None
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        rest = text.rpartition(")")[2].split()
        # A zombie has a line there too, but will never finish its run.
        start = None if rest[0] in ("Z", "X") else rest[19]
    except OSError:
        pass
    return {"pid": pid, "pid_start": start, "boot": boot_id()}
