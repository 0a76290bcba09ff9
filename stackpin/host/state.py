"""The `state` command: what the host recorded and what runs, in one answer, changing nothing."""

from __future__ import annotations

from typing import Any

from stackpin.host import disk, journal, lock, pointer, processes, releases, runs, slots
from stackpin.host.drivers import driver
from stackpin.host.errors import HostError
from stackpin.host.resources import machine
from stackpin.host.stack import SLOTS, Stack

__all__ = ["COMMANDS", "state"]

HIDDEN = ("lock_token",)  # whoever knows it may act as the lease's holder


def state(stack: Stack, payload: dict[str, Any]) -> dict[str, Any]:
    """Tell everything recorded: state {journal?: number of lines, 50}.

    -> {installed, kind, live_slot, live_release, slots: {slot: {release, active, sub, main_pid,
    started, restarts, resources, [image, digest, health...]}}, releases, last_good, pending, run,
    lock, maintenance, maintenance_since, nginx_reload_pending, live_modified, live_changed,
    journal}. resources: {rss_bytes, cpu_seconds, started} of a slot's main process, or null.
    pending has no token. nginx_reload_pending: nginx's files were changed and it was not reloaded
    since. live_modified: the files of the live
    release are not what was uploaded. live_changed: what the live container was made from and is
    another now (image, env, container.json, name): a rollout of the same release makes it anew.
    machine: see resources.py.
    Without stack.json: {installed: false, lock, machine, nginx_reload_pending}.
    """
    lease = lock.shown(lock.current(stack))
    reload_due = stack.nginx_reload_file.exists()
    if not stack.installed:
        left = {"lock": lease, "nginx_reload_pending": reload_due}
        return {"installed": False, **left, "machine": machine(stack.at("/var/lib"))}
    live, slot = pointer.live_release(stack), pointer.live_slot(stack)
    maintenance = stack.maintenance_file.exists()
    return {
        "installed": True,
        "kind": stack.kind,
        "live_slot": slot,
        "live_release": live,
        "slots": {} if stack.is_static else _slots(stack),
        "releases": releases.describe(stack),
        "last_good": journal.last_good(stack, live),
        "pending": _without(runs.load_pending(stack), "token"),
        "run": _without(runs.load(stack), *HIDDEN),
        "lock": lease,
        "maintenance": maintenance,
        "maintenance_since": (disk.read_json(stack.maintenance_file) or {}).get("since"),
        "nginx_reload_pending": reload_due,
        "live_modified": live is not None and bool(releases.altered(stack, live)),
        "live_changed": _changed(stack, slot, live),
        "machine": machine(stack.at(stack.data or "/var/lib")),
        "journal": journal.read(stack, int(payload.get("journal", 50))),
    }


def _slots(stack: Stack) -> dict[str, dict[str, Any]]:
    try:
        shown = driver(stack).show(stack, SLOTS)
    except HostError:
        shown = {slot: {"active": "unknown"} for slot in SLOTS}
    return {
        slot: {
            **shown[slot],
            "release": slots.linked(stack, slot),
            "resources": _resources(shown[slot].get("main_pid")),
        }
        for slot in SLOTS
    }


def _resources(pid: int | None) -> dict[str, Any] | None:
    return processes.resources(pid) if pid else None


def _changed(stack: Stack, slot: str | None, release: str | None) -> list[str]:
    if slot is None or release is None:
        return []
    try:
        return driver(stack).changed(stack, slot, release)
    except HostError:
        return []  # what cannot be asked is told by its slot's state


def _without(value: dict[str, Any] | None, *keys: str) -> dict[str, Any] | None:
    return None if value is None else {k: v for k, v in value.items() if k not in keys}


COMMANDS = {"state": state}
