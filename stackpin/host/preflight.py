"""Whether a host can take a stack, asked before anything is touched. Works on a bare host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stackpin.host import (
    preflight_docker,
    preflight_network,
    preflight_ports,
    preflight_programs,
    preflight_resources,
    preflight_stack,
    preflight_upkeep,
)
from stackpin.host.preflight_item import Item
from stackpin.host.preflight_paths import WRITTEN, database, repository, traversable, writable
from stackpin.host.stack import Stack

__all__ = ["COMMANDS", "preflight"]


def preflight(stack: Stack, payload: dict[str, Any]) -> dict[str, Any]:
    """Measure the host against `needs`, and look at what of `stack` is there.

    payload: {needs: {cpus, memory_mb, memory_total_mb, disk_mb, kernel: "5.10",
    recommended: {cpus, memory_mb, disk_mb}, paths, databases, artifact_bytes, commands,
    versions: {program: "1.2"}, docker, project, image_bytes, endpoints: [{address, severity}],
    registries: [{host, ca, severity}], now; ports: [int], own: [stack], repo_root, repo_create,
    database, web_user, container, registry, postgres}, system}. `own` are the stacks whose
    services may hold the ports, by default this one. now is the operator's clock, unix seconds.
    Every key may be absent. system False leaves out the questions about the host itself (the keys
    before `ports`), for a second stack on it.
    Returns {passed, items: [{name, ok, severity, measured, expected, remedy, scope: host|part}]};
    passed is False when an item of severity fail is not ok.
    """
    needs = payload.get("needs") or {}
    scoped = [("host", item) for item in _host(stack, needs)] if payload.get("system", True) else []
    scoped += [("part", item) for item in _part(stack, needs)]
    return {
        "passed": all(item.ok or item.severity != "fail" for _, item in scoped),
        "items": [
            {**item._asdict(), "remedy": "" if item.ok else item.remedy, "scope": scope}
            for scope, item in scoped
        ],
    }


def _host(stack: Stack, needs: Mapping[str, Any]) -> Iterator[Item]:
    yield from preflight_programs.look(needs)
    yield from preflight_resources.look(stack, needs)
    for path in dict.fromkeys([*(needs.get("paths") or []), *WRITTEN]):
        yield Item(f"path {path}", *writable(stack.at(path)))
    yield from preflight_docker.engine(stack, needs)
    yield from preflight_network.look(needs)
    yield from preflight_upkeep.look(needs.get("now"))


def _part(stack: Stack, needs: Mapping[str, Any]) -> Iterator[Item]:
    yield preflight_stack.deployment(stack)
    yield from preflight_ports.look(stack, needs)
    if needs.get("repo_root"):
        create = bool(needs.get("repo_create"))
        yield Item("repo_root", *repository(stack.at(needs["repo_root"]), create=create))
    if needs.get("database"):
        yield Item("database", *database(stack.at(needs["database"])))
    if needs.get("web_user") and not stack.is_static:
        yield Item("web_user", *traversable(stack, str(needs["web_user"])))
    yield from preflight_docker.look(stack, needs)


COMMANDS = {"preflight": preflight}
