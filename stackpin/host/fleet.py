"""All workers as the server host sees them: API, heartbeats and table row, in one answer.

The API's own `status` hides what matters (updating and outdated live in the table only), and says
nothing of when a heartbeat came. So three sources are read side by side.
"""

from __future__ import annotations

import contextlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from stackpin.host import postgres, slots
from stackpin.host.drivers import compose_services as services
from stackpin.host.drivers import driver
from stackpin.host.errors import HostError, failed
from stackpin.host.redis_lease import redis
from stackpin.host.stack import Stack
from stackpin.host.worker_api import UnreachableError, WorkerApi

__all__ = ["COMMANDS", "fleet", "merge"]

TTL = 15.0  # seconds the application keeps a heartbeat
FAR = 5.0  # seconds a heartbeat's own time may differ from what its remaining life says
_BEATS = (
    "local r={} for i,k in ipairs(redis.call('KEYS','worker:load:*')) do "
    "local v=redis.call('HMGET',k,'cpu','mem','updated') "
    "r[i]={k,tostring(v[1]),tostring(v[2]),tostring(v[3]),redis.call('PTTL',k)} end "
    "return cjson.encode(r)"
)
_ROWS = "select id, status from worker_node;"


def fleet(stack: Stack, payload: dict[str, Any]) -> dict[str, Any]:
    """Tell what the server knows of its workers.

    payload: {ids: [int] or absent for all} -> {now: unix seconds of this host, version: IMAGE_TAG
    the server runs or null, workers: [{id, name, address, local, api_status, row_status, beat:
    {updated: unix seconds, age: seconds, cpu, mem} or null}], seconds}. row_status is null when the
    table cannot be read. Raises HostError(error): no server runs, or API or Redis do not answer.
    """
    started = time.monotonic()
    place = driver(stack).address(stack, slots.live_slot(stack))
    if place is None:
        raise failed(
            f"stack {stack.name}: no server container runs in slot {slots.live_slot(stack)}; "
            "see `stackpin status`"
        )
    with ThreadPoolExecutor(max_workers=2) as pool:
        # Two programs are started and one server asked; one after the other they take too long.
        beats = pool.submit(_beats, stack)
        rows = pool.submit(_row_states, stack)
        try:
            listed = list(WorkerApi(f"http://{place[0]}:{place[1]}").workers())
        except UnreachableError as problem:
            raise failed(f"stack {stack.name}: the server does not answer: {problem}") from problem
        now, pulses = beats.result()
        states = rows.result()
    wanted = {int(number) for number in payload.get("ids") or []}
    workers = merge(listed, pulses, states, now)
    return {
        "now": round(now, 3),
        "version": _version(stack),
        "workers": [item for item in workers if not wanted or item["id"] in wanted],
        "seconds": round(time.monotonic() - started, 3),
    }


def merge(
    listed: list[dict[str, Any]],
    pulses: dict[int, tuple[str, str, str, int]],
    states: dict[int, str],
    now: float,
) -> list[dict[str, Any]]:
    """Join the three sources by id, in the order of the ids; see `fleet` for the answer.

    pulses: {id: (cpu, mem, updated, milliseconds left)} as Redis has them; now: unix seconds when
    they were read.
    """
    return [
        {
            "id": int(row["id"]),
            "name": row.get("name"),
            "address": row.get("ipAddress"),
            "local": bool(row.get("isLocal")),
            "api_status": row.get("status"),
            "row_status": states.get(int(row["id"])),
            "beat": _beat(pulses.get(int(row["id"])), now),
        }
        for row in sorted(listed, key=lambda row: int(row["id"]))
    ]


def _beat(pulse: tuple[str, str, str, int] | None, now: float) -> dict[str, Any] | None:
    if pulse is None:
        return None
    cpu, mem, text, left = pulse
    by_life = now - (TTL - left / 1000)
    told = _seconds(text)
    # The server writes local time without a zone: what a key has left to live is surer.
    updated = told if told is not None and abs(told - by_life) <= FAR else by_life
    return {
        "updated": round(updated, 3),
        "age": round(max(0.0, now - updated), 3),
        "cpu": _number(cpu),
        "mem": _number(mem),
    }


def _seconds(text: str) -> float | None:
    with contextlib.suppress(ValueError):
        return float(text)
    with contextlib.suppress(ValueError):
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    return None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _beats(stack: Stack) -> tuple[float, dict[int, tuple[str, str, str, int]]]:
    answer = redis(stack, [f'EVAL "{_BEATS}" 0'])[0]
    now = time.time()
    try:
        found = json.loads(answer)
    except ValueError as problem:
        raise failed(f"redis-cli of {stack.name}: not JSON: {answer[:100]!r}") from problem
    # An empty table of Lua is {} in JSON.
    rows = found if isinstance(found, list) else []
    pulses = {}
    for key, cpu, mem, updated, left in rows:
        number = str(key).rpartition(":")[2]
        if number.isdigit() and int(left) > 0:
            pulses[int(number)] = (str(cpu), str(mem), str(updated), int(left))
    return now, pulses


def _row_states(stack: Stack) -> dict[int, str]:
    with contextlib.suppress(HostError, ValueError):
        database = postgres.database_of(stack)
        if database is not None:
            return {int(number): state for number, state in database.psql(_ROWS, timeout=15.0)}
    return {}


def _version(stack: Stack) -> str | None:
    service = services.of_slot(stack, slots.live_slot(stack))
    found = services.running(stack).get(service)
    return None if found is None else found.env.get("IMAGE_TAG")


COMMANDS = {"fleet": fleet}
