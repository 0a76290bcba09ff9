"""What really runs on a host, beside what should: one reading, few programs started."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

from stackpin.host import findings, pointer, processes, releases, slots, sqlite_db, system
from stackpin.host.drivers import docker, looking
from stackpin.host.errors import HostError
from stackpin.host.masking import Masker
from stackpin.host.reading import Finding, Reading, UnitState
from stackpin.host.resources import machine
from stackpin.host.stack import SLOTS, Stack

__all__ = ["COMMANDS", "inspect"]

_ASKED = "Id,ActiveState,SubState,MainPID,NRestarts,FragmentPath,DropInPaths,NeedDaemonReload"


def inspect(stack: Stack, _payload: dict[str, Any]) -> dict[str, Any]:
    """Read the host and compare it with what was deployed.

    Returns {installed, live_slot, live_release, process: {pid, exe, exe_deleted, cmdline,
    release_env, started} or null, listeners: [{proto, address, port, pid, process}], database:
    {path, size, tables, integrity, schema_version} or null, units: [{name, active, sub, main_pid,
    restarts, dropins, fragment, fragment_ok}], findings: [{code, message, expected, found}],
    containers: [{name, slot, service, release, image, digest, state, health, restarts...}]}.
    machine is what resources.py reads. Codes are in findings.py. An absent thing is a finding or
    null, never an error.
    """
    listening = processes.listeners()
    if not stack.installed:
        answer = {"installed": False, "live_slot": None, "live_release": None, "process": None}
        rows = [item.as_json() for item in listening]
        return {**answer, "listeners": rows, "database": None, "units": [], "findings": [],
                "containers": [], "machine": machine(stack.at("/var/lib"))}  # fmt: skip
    reading = _read(stack, listening)
    problem = None
    try:
        held = docker.containers(stack) if stack.uses_images else []
    except HostError as error:
        held, problem = [], Finding("docker-not-answering", error.message, "an answer", "none")
    found = findings.look(reading, None if problem else held)
    if problem is not None:
        found.append(problem)
    live = reading.live_slot
    release = pointer.live_release(stack)
    env = releases.environment(stack, release, live) if release else {}
    return {
        "installed": True,
        "live_slot": live,
        "live_release": release,
        "process": looking.process(held, live)
        if stack.uses_images
        else _process(reading, Masker.of(env)),
        "listeners": [item.as_json() for item in listening],
        "database": _database(stack, found),
        "containers": looking.rows(held),
        "units": [unit.as_json() for unit in reading.units.values()],
        "findings": [finding._asdict() for finding in found],
        "machine": machine(stack.at(stack.data or "/var/lib")),
    }


def _read(stack: Stack, listening: list[processes.Listener]) -> Reading:
    live = pointer.live_slot(stack)
    units = _units(stack) if stack.kind == "slots" else {}
    running = {
        slot: process
        for slot, unit in units.items()
        if unit.main_pid and (process := processes.process(unit.main_pid)) is not None
    }
    return Reading(stack, live, units, running, listening)


def _units(stack: Stack) -> dict[str, UnitState]:
    names = {stack.unit(slot): slot for slot in SLOTS}
    answer = system.run(["systemctl", "show", f"--property={_ASKED}", *names], timeout=20.0)
    found = {}
    for block in answer.out.split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        slot = names.get(values.get("Id", ""))
        if slot is None:
            continue
        linked = slots.linked(stack, slot)
        wanted = stack.release_dir(linked) / "unit" if linked else None
        file = stack.unit_file(slot)
        same = (
            wanted is not None
            and wanted.is_file()
            and file.is_file()
            and wanted.read_bytes() == file.read_bytes()
            and values.get("FragmentPath") == str(file)
            and values.get("NeedDaemonReload") != "yes"
        )
        found[slot] = UnitState(
            name=values["Id"],
            active=values.get("ActiveState") or "inactive",
            sub=values.get("SubState") or "dead",
            main_pid=int(values.get("MainPID") or 0),
            restarts=int(values.get("NRestarts") or 0),
            dropins=values.get("DropInPaths", "").split(),
            fragment=values.get("FragmentPath") or None,
            fragment_ok=same,
            reload_needed=values.get("NeedDaemonReload") == "yes",
        )
    return found


def _process(reading: Reading, mask: Masker) -> dict[str, Any] | None:
    process = reading.running.get(reading.live_slot or "")
    if process is None:
        return None
    return {
        "pid": process.pid,
        "exe": process.exe,
        "exe_deleted": process.exe_deleted,
        "cmdline": [mask(part) for part in process.cmdline],
        "release_env": process.environment.get("STACKPIN_RELEASE"),
        "started": process.started,
    }


def _database(stack: Stack, found: list[Finding]) -> dict[str, Any] | None:
    if not stack.database:
        return None
    path = stack.at(stack.database)
    answer: dict[str, Any] = {
        "path": stack.database,
        "size": None,
        "tables": [],
        "integrity": "absent",
    }
    if not path.is_file():
        return {**answer, "schema_version": None}
    answer["size"] = path.stat().st_size
    version = None
    try:
        with closing(sqlite_db.open_read_only(path)) as db:
            answer["integrity"] = sqlite_db.integrity(db)
            answer["tables"] = sqlite_db.table_names(db)
            version = sqlite_db.schema_version(db)
    except sqlite3.Error as problem:
        answer["integrity"] = str(problem)
    if answer["integrity"] != "ok":
        message = f"{stack.database}: damaged; restore a backup"
        found.append(Finding("database-damaged", message, "ok", str(answer["integrity"])))
    return {**answer, "schema_version": version}


COMMANDS = {"inspect": inspect}
