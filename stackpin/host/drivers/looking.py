"""What containers really run, beside what their slots hold: rows for `inspect`, and findings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stackpin.host import releases, slots
from stackpin.host.drivers import driver
from stackpin.host.drivers.docker import LABELS, Container, by_name, image, plain
from stackpin.host.images import by_digest
from stackpin.host.masking import Masker
from stackpin.host.reading import Finding
from stackpin.host.stack import SLOTS, Stack

__all__ = ["MANY_RESTARTS", "differences", "process", "rows"]

MANY_RESTARTS = 3  # a host that was slow once is no finding


def rows(found: list[Container]) -> list[dict[str, Any]]:
    """Return [{name, slot, service, release, image, digest, state, health, restarts, ...}].

    Without variables: those hold secrets.
    """
    return [
        {
            "name": item.name,
            "slot": item.slot,
            "service": item.service,
            "release": item.release,
            "image": item.image,
            "digest": item.digest,
            "state": item.state,
            "health": item.health,
            "restarts": item.restarts,
            "policy": item.policy,
            "id": item.id,
            "spec": item.spec,
            "started": item.started,
        }
        for item in found
    ]


def process(found: list[Container], live: str | None) -> dict[str, Any] | None:
    """Return the live slot's container as `inspect` shows a process, None when it does not run."""
    item = next((item for item in found if item.slot == live and item.pid), None)
    if item is None:
        return None
    mask = Masker.of(item.env)
    return {
        "pid": item.pid,
        "exe": None,
        "exe_deleted": False,
        "cmdline": [mask(item.image)],
        "release_env": item.release,
        "started": item.started,
    }


def differences(
    stack: Stack, found: list[Container], live: str | None, *, busy: bool
) -> Iterator[Finding]:
    """List what differs; busy: a run at work explains two running slots."""
    yield from _unmanaged(stack)
    mine = {str(item.slot): item for item in reversed(found) if item.slot in SLOTS}
    release = slots.linked(stack, live) if live else None
    if live is not None and release is not None and not busy:
        yield from _live(stack, mine.get(live), live, release)
    other = mine.get(slots.other(live)) if live else None
    if not busy and other is not None and other.state in ("running", "restarting"):
        yield Finding(
            "both-slots-running",
            f"container {other.name} runs although {live} is live and no deploy is at work; "
            f"`docker stop {other.name}`, or deploy again",
            f"only {live}",
            f"{live} and {other.slot}",
        )
    for item in found:
        yield from _one(item)
    if release is not None:
        yield from _tags(stack, release)


def _live(stack: Stack, item: Container | None, live: str, release: str) -> Iterator[Finding]:
    place = driver(stack).place(stack, live)
    if item is None or item.state != "running":
        state = "absent" if item is None else item.state
        yield Finding(
            "container-not-running",
            f"container {place} is live but {state}; see `stackpin logs`, then `stackpin start`",
            "running",
            state,
        )
        return
    if item.health == "unhealthy":
        yield Finding(
            "container-not-running",
            f"container {place} runs but its own check says unhealthy; see `stackpin logs`",
            "healthy",
            "unhealthy",
        )
    if item.policy == "no":
        yield Finding(
            "restart-policy",
            f"container {place} would not come back after it ends; "
            f"`docker update --restart=always {item.name}`",
            "always",
            "no",
        )
    what = driver(stack).changed(stack, live, release)
    if "env" in what:
        yield Finding(
            "env-changed",
            f"container {place} was made with other variables than release {release} and the "
            "files of this host have now; deploy again, that makes it anew",
            "the variables of the release",
            "others",
        )
    if item.release != release or set(what) - {"env"}:
        yield Finding(
            "running-not-installed",
            f"container {place} is not what slot {live} holds; deploy again",
            release,
            f"{item.release} ({', '.join(what) or 'label'}), image {item.image}",
        )


def _one(item: Container) -> Iterator[Finding]:
    if item.restarts >= MANY_RESTARTS or item.state == "restarting":
        yield Finding(
            "restarts",
            f"container {item.name} was restarted {item.restarts} times since it was started; "
            "see its log",
            f"fewer than {MANY_RESTARTS}",
            f"{item.restarts}, {item.state}",
        )


def _tags(stack: Stack, release: str) -> Iterator[Finding]:
    """Find tags here that mean another image than their digest: the product would run those."""
    for reference in releases.images(stack, release):
        name = plain(reference)
        wanted, named = image(by_digest(reference)), image(name)
        if wanted is not None and named is not None and wanted["id"] != named["id"]:
            yield Finding(
                "tag-moved-locally",
                f"{name} means another image on this host than the pinned one; deploy again, or "
                f"`docker tag {reference} {name}`",
                wanted["id"],
                named["id"],
            )


def _unmanaged(stack: Stack) -> Iterator[Finding]:
    name = (stack.container or {}).get("name")
    held = by_name(str(name)) if name else None
    if held is not None and held.labels.get(LABELS["stack"]) != stack.name:
        yield Finding(
            "container-unmanaged",
            f"container {name} (id {held.id[:12]}) has our name and was not made by Stackpin; "
            f"look at it, then `docker rm --force {name}`",
            f"no {name} but ours",
            held.image,
        )
