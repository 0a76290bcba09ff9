"""What really runs of a compose project beside what its release says: for inspect and drift."""

from __future__ import annotations

from typing import Any

from stackpin.host import pointer, releases, runs, slots
from stackpin.host.drivers import compose_services as services
from stackpin.host.drivers import docker
from stackpin.host.drivers.docker import Container
from stackpin.host.errors import HostError
from stackpin.host.reading import Finding
from stackpin.host.stack import Stack

__all__ = ["findings", "services_of"]


def services_of(stack: Stack) -> dict[str, dict[str, Any]]:
    """Return every service of the project, the declared ones that have no container too.

    {service: {name, id, image, digest, image_id, state, exit_code, health, restarts, policy,
    started, slot, release, config_hash, wanted_hash}}; state "absent" and nulls where nothing is.
    wanted_hash is null for what the live release does not declare.
    """
    found = services.running(stack)
    wanted = _hashes(stack)
    answer = {name: _shown(item, wanted.get(name)) for name, item in found.items()}
    for name in _expected(stack):
        if name not in answer:
            answer[name] = {**_shown(None, wanted.get(name))}
    return dict(sorted(answer.items()))


def _shown(item: Container | None, wanted: str | None) -> dict[str, Any]:
    names = ("name", "id", "image", "image_id", "digest", "state", "exit_code", "health",
             "restarts", "policy", "started", "slot", "release")  # fmt: skip
    if item is None:
        shown: dict[str, Any] = {**dict.fromkeys(names), "state": "absent", "restarts": 0}
    else:
        shown = {name: getattr(item, name) for name in names}
    shown["config_hash"] = None if item is None else services.config_hash(item)
    return {**shown, "wanted_hash": wanted}


def _hashes(stack: Stack) -> dict[str, str]:
    release = pointer.live_release(stack)
    if release is None:
        return {}
    try:
        return services.hashes(stack, release)
    except HostError:
        return {}  # the release's file is damaged: a finding of its own (release-modified)


def _expected(stack: Stack) -> list[str]:
    if pointer.live_release(stack) is None:
        return []
    live = services.of_slot(stack, slots.live_slot(stack))
    return [live, *services.depend(stack), *services.front(stack)]


def findings(stack: Stack) -> list[Finding]:
    """List what is not as the live release says; a run at work explains the idle slot.

    Codes: container-not-running, container-unhealthy, running-not-installed, tag-moved-locally,
    restarts, both-slots-running, container-stray.
    """
    release = pointer.live_release(stack)
    if release is None:
        return []
    found, wanted = services.running(stack), _hashes(stack)
    run = runs.load(stack)
    busy = not runs.ended(run) and run is not None and runs.stale(stack, run) is None
    told: list[Finding] = []
    for name in _expected(stack):
        told += _service(stack, name, found.get(name), wanted.get(name), busy=busy)
    idle = services.of_slot(stack, slots.other(slots.live_slot(stack)))
    if not busy and idle in found and found[idle].state in {"running", "restarting"}:
        told.append(
            Finding(
                "both-slots-running",
                f"{found[idle].name} runs although it is not live and no deploy is at work; "
                f"`docker stop {found[idle].name}`, or deploy again",
                "stopped",
                found[idle].state,
            )
        )
    known = {*_expected(stack), idle}
    told += [
        Finding(
            "container-stray",
            f"{item.name}: service {name} is not in the live release {release}; deploy again",
            "absent",
            item.state,
        )
        for name, item in found.items()
        if name not in known
    ]
    return told


def _service(
    stack: Stack, name: str, item: Container | None, wanted: str | None, *, busy: bool
) -> list[Finding]:
    if item is None or item.state != "running":
        state = "absent" if item is None else f"{item.state}, exit code {item.exit_code}"
        message = f"service {name} of {stack.name} does not run; see its log, then deploy again"
        return [Finding("container-not-running", message, "running", state)]
    told = []
    if item.health == "unhealthy":
        message = f"{item.name}: its health check fails; see `docker logs {item.name}`"
        told.append(Finding("container-unhealthy", message, "healthy", item.health))
    if item.restarts:
        message = f"{item.name}: was restarted by docker {item.restarts} times; see its log"
        told.append(Finding("restarts", message, "0", str(item.restarts)))
    running = services.config_hash(item)
    if wanted is not None and running != wanted and not busy:
        message = f"{item.name}: does not run as the live release says; deploy again"
        told.append(Finding("running-not-installed", message, wanted[:12], str(running)[:12]))
    told += _image(stack, name, item)
    return told


def _image(stack: Stack, name: str, item: Container) -> list[Finding]:
    """Tell when the repo:tag on this host is another image than the one that runs."""
    live = pointer.live_release(stack) or ""
    pinned = (releases.about(stack, live).get("images") or {}).values()
    if item.image not in pinned:
        message = f"{item.name}: runs an image the live release does not pin; deploy again"
        return [Finding("running-not-installed", message, "a pinned image", item.image)]
    tagged = docker.image(docker.plain(item.image))
    if tagged is not None and tagged["id"] != item.image_id:
        message = (
            f"service {name}: {docker.plain(item.image)} on this host is another image than the "
            "one that runs; the next deploy names it rightly again"
        )
        return [Finding("tag-moved-locally", message, item.image_id, str(tagged["id"]))]
    return []
