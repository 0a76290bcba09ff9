"""Slots that are services of Docker Compose: server-blue and server-green beside one database.

The services in front (nginx, agent...) know the server by one network name that both slots carry.
`front` makes sure that only the wanted slot answers to it. Compose gets the values of a slot's
variables in a second document on its standard input: its own reading of env files changes some
characters. There the slots also get the restart policy "no": only `front` gives one "always", so
that a restart of the host brings back what was fronted last and nothing else.
"""

from __future__ import annotations

import time
from typing import Any

from stackpin.host import postgres, releases, schema, slots
from stackpin.host.clock import running_seconds
from stackpin.host.drivers import Still, compose_foreign, docker, shared
from stackpin.host.drivers import compose_services as services
from stackpin.host.drivers.docker import Container
from stackpin.host.drivers.shared import connections, last_log, pull
from stackpin.host.errors import HostError, failed
from stackpin.host.progress import say
from stackpin.host.stack import Stack

__all__ = [
    "address",
    "changed",
    "clean",
    "connections",
    "front",
    "install",
    "installed",
    "last_log",
    "place",
    "pull",
    "rehearse",
    "remove",
    "require_free",
    "show",
    "start",
    "stop",
]

POLL = 0.2  # seconds
GRACE = 10  # seconds a server that is replaced has to finish its requests after SIGTERM
FRONT_GRACE = 2  # the same for what is in front: each second of it is a gap
RESOLVING = 1.0  # seconds nginx has to begin workers that know the new address


def show(stack: Stack, slots: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Return {slot: {...}} as every driver; spec is the hash compose gave the container."""
    found = services.running(stack)
    return {slot: _shown(found.get(services.of_slot(stack, slot))) for slot in slots}


def _shown(found: Container | None) -> dict[str, Any]:
    if found is None:
        return dict(shared.ABSENT)
    return {**found.shown(), "spec": services.config_hash(found)}


def install(stack: Stack, slot: str, release: str) -> None:
    """Link a stopped slot to a release, after compose has accepted the release's file."""
    services.compose(stack, release, "config", "--quiet")
    slots.link(stack, slot, release)


def installed(stack: Stack, slot: str) -> bool:
    """Tell whether the slot is linked to a release with a compose file."""
    release = slots.linked(stack, slot)
    return release is not None and (stack.release_dir(release) / services.FILE).is_file()


def start(stack: Stack, slot: str) -> None:
    """Start the slot's server; what it depends on comes first and is waited for.

    A container made for the slot's release is started as it is, even when its compose file cannot
    be used any more: this is the way back, too.
    """
    release = services.linked(stack, slot)
    found = services.running(stack).get(services.of_slot(stack, slot))
    if found is not None and found.release == release and _same(stack, release, found):
        _dependencies(stack, release, recreate=False)
        docker.docker("start", found.id, timeout=120)
        return
    _dependencies(stack, release, recreate=True)
    schema.apply(stack, release)
    services.up(stack, release, services.of_slot(stack, slot), grace=GRACE)


def _same(stack: Stack, release: str, found: Container) -> bool:
    try:
        wanted = services.hashes(stack, release).get(str(found.service))
    except HostError as problem:
        say(f"{found.name}: its compose file cannot be read ({problem.message}); started as it is")
        return True
    return wanted is None or wanted == services.config_hash(found)


def _dependencies(stack: Stack, release: str, *, recreate: bool) -> None:
    """Bring up database and Redis; compose recreates one only when its own part changed."""
    names = services.depend(stack, release)
    found = services.running(stack)
    good = all(services.healthy(found, name) for name in names)
    if not names or (good and not recreate):
        return
    if recreate or any(name not in found for name in names):
        services.up(stack, release, *names, grace=60)
    else:
        docker.docker("start", *(found[name].id for name in names), timeout=120)
    deadline = running_seconds() + stack.start_timeout
    while True:
        found = services.running(stack)
        waiting = [name for name in names if not services.healthy(found, name)]
        if not waiting:
            _require_login(stack, release, names, deadline)
            return
        if running_seconds() > deadline:
            name = waiting[0]
            log = services.log(found.get(name))
            raise failed(
                f"service {name} of {stack.name}: not healthy within {stack.start_timeout:g} s"
                f"{': ' + log[-1] if log else ''}; see `stackpin logs`",
                log=log,
            )
        time.sleep(POLL)


def _require_login(stack: Stack, release: str, names: list[str], deadline: float) -> None:
    """Wait until the database lets the application in over the network.

    A new one is healthy too early: it first runs on a socket of its own, then starts anew.
    """
    database = postgres.database_of(stack, release)
    if database is None or database.service not in names:
        return
    while (wrong := database.login()) is not None:
        told = f"{database.place}: {wrong}"
        if any(part in wrong for part in ("authentication failed", "does not exist")):
            raise failed(
                f"{told}; the volume of the database keeps the password of its first start: put "
                "that into the secrets of the stack, or change it in the database"
            )
        if running_seconds() > deadline:
            raise failed(f"{told} (after {stack.start_timeout:g} s); see `stackpin logs`")
        time.sleep(POLL)


def stop(stack: Stack, *slots: str) -> None:
    """Stop slots and keep them; neither docker nor a restart of the host starts them again."""
    found = services.running(stack)
    for slot in slots:
        item = found.get(services.of_slot(stack, slot))
        if item is not None:
            shared.halt(item)


def remove(stack: Stack, slot: str) -> None:
    """Remove the slot's container, whatever it does."""
    found = services.running(stack).get(services.of_slot(stack, slot))
    if found is not None:
        docker.docker("rm", "--force", found.id, timeout=120)


def front(stack: Stack, slot: str) -> None:
    """Let the slot alone be the server, and what is in front of it be its release's.

    Works from any state: the slot is started and waited for when it does not run. Both servers
    answer until everything in front knows the wanted one only; then the other stops.
    """
    release = services.linked(stack, slot)
    # A run killed while a database was made anew leaves none; also the way back comes by here.
    _dependencies(stack, release, recreate=False)
    _ready(stack, slot)
    before = services.running(stack)
    services.policy("always", [before[services.of_slot(stack, slot)]])
    hashes = services.hashes(stack, release)
    stale = [
        name
        for name in services.front(stack, release)
        if not services.healthy(before, name)
        or services.config_hash(before[name]) != hashes.get(name)
    ]
    # One by one, what resolves names last: compose starts nothing until all it replaces have
    # stopped, and the door must not stay shut for a slow one beside it.
    doors = [name for name in stale if name in services.doors(stack)]
    for names in ([name for name in stale if name not in doors], doors):
        if names:
            services.up(stack, release, *names, grace=FRONT_GRACE)
    services.remove_stray(stack, set(hashes))
    other, found = services.of_slot(stack, slots.other(slot)), services.running(stack)
    if other in found and found[other].state == "running":
        host = services.address(found[services.of_slot(stack, slot)])
        services.pin_name(stack, found, host)
        if services.reload(stack, found):
            time.sleep(RESOLVING)
            _drain(stack, slots.other(slot))
        stop(stack, slots.other(slot))
        services.pin_name(stack, found, None)
    else:
        stop(stack, slots.other(slot))  # its restart policy
        services.pin_name(stack, found, None)
        services.reload(stack, {k: v for k, v in found.items() if k not in stale})


def _drain(stack: Stack, slot: str) -> None:
    deadline = running_seconds() + stack.drain_seconds
    while connections(stack, slot) and running_seconds() < deadline:
        time.sleep(POLL)


def _ready(stack: Stack, slot: str) -> None:
    place = address(stack, slot)
    if place is None:
        start(stack, slot)
    deadline = running_seconds() + stack.start_timeout
    while True:
        place = address(stack, slot)
        if place is not None and services.answers(place):
            return
        now = show(stack, (slot,))[slot]
        if now["active"] == "failed" or running_seconds() > deadline:
            raise failed(
                f"{place_of(stack, slot)}: port {services.port(stack)} does not answer "
                f"({now['sub']}); traffic was not directed to it"
            )
        time.sleep(POLL)


def address(stack: Stack, slot: str) -> tuple[str, int] | None:
    """Return (address on the project's network, port) of a running slot, else None."""
    host = services.address(services.running(stack).get(services.of_slot(stack, slot)))
    return None if host is None else (host, services.port(stack))


def require_free(stack: Stack, slot: str) -> None:  # noqa: ARG001 (all drivers look alike)
    """Refuse when a container that is not ours has a name the compose file gives."""
    compose_foreign.require_project(stack)
    compose_foreign.require_agent_name(stack)


def place(stack: Stack, slot: str) -> str:
    """Name the slot's container."""
    return place_of(stack, slot)


def place_of(stack: Stack, slot: str) -> str:
    """Return xingrin-server-blue-1, compose's own way of naming."""
    return f"{services.project(stack)}-{services.of_slot(stack, slot)}-1"


def changed(stack: Stack, slot: str, release: str) -> list[str]:
    """Name the services that do not run as the release says: ["nginx", "server-blue"]."""
    found = services.running(stack)
    hashes, images = services.hashes(stack, release), releases.images(stack, release)
    around = (*services.depend(stack, release), *services.front(stack, release))
    names = [services.of_slot(stack, slot), *around]
    return [
        name
        for name in names
        if name in hashes
        and (
            name not in found
            or services.config_hash(found[name]) != hashes[name]
            or found[name].image not in images  # made by hand with the labels of ours
            or found[name].state not in {"running", "restarting"}
        )
    ]


def rehearse(stack: Stack, release: str, still: Still) -> dict[str, Any]:
    """Prove what can be proven without a second server: images, compose file, schema.

    Returns {pulled, schema: {drift, checked, ...}}. Raises HostError(refused) with the drift.
    """
    still()
    pulled = pull(stack, release)
    services.compose(stack, release, "config", "--quiet")
    still()
    return {"pulled": pulled, "schema": schema.rehearse(stack, release)}


def clean(stack: Stack) -> None:
    """Remove one-off containers and scratch databases that a killed call left."""
    schema.clean(stack)
