"""Everything that can be judged without asking a host: inventory, variables, secrets, artifacts."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict, cast

from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory

from operations.refusals import builds_nothing
from stackpin.artifacts import Artifact, Pinned, Say, quiet
from stackpin.config.common import StackSettings
from stackpin.config.problems import ConfigProblems, Problem
from stackpin.config.stacks import STACKS, Stack
from stackpin.engine.placing import chosen
from stackpin.engine.state import load_inventory
from stackpin.errors import Refused
from stackpin.lockfile import pinned, uses_images
from stackpin.secrets import resolver

__all__ = ["Checked", "check_inventory", "variable_sources"]


@dataclass
class Checked:
    """What was found, by host and stack part; a host has only the parts its groups give it.

    `images` are those the host runs, by role, as "repo:tag@sha256:...".
    """

    settings: dict[str, dict[str, StackSettings]] = field(default_factory=dict)
    artifacts: dict[str, dict[str, Artifact]] = field(default_factory=dict)
    images: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)


class Making(TypedDict):
    """What making an artifact takes: who hears of it, and which hosts must not build it."""

    progress: Say
    production: Collection[str]


class CheckFailed(ConfigProblems):
    """All problems of an inventory at once; `others` are those that are no variable's."""

    def __init__(self, problems: Sequence[Problem], others: Sequence[str]) -> None:
        super().__init__(problems)
        self.others = tuple(dict.fromkeys(others))
        text = "\n".join([str(self), *self.others] if problems else self.others)
        self.args = (text,)


def check_inventory(
    path: str,
    stack: Stack,
    limit: Sequence[str],
    data: Mapping[str, Any],
    *,
    artifacts: bool = True,
    secrets: bool = True,
    progress: Say = quiet,
    instead: Mapping[Path, bytes] | None = None,
) -> Checked:
    """Validate `stack` for the hosts of an inventory file; no host is connected.

    `artifacts` False leaves pinned files and digests alone, for commands that send none; else they
    are fetched or built where need be, which `progress` hears of. `secrets` False does not look
    secrets up. `instead` has contents to take for group data files.
    Raises Refused (also CheckFailed, with every problem) when anything is wrong.
    """
    inventory = load_inventory(path, data, instead)
    checked = Checked()
    problems: list[Problem] = []
    others: list[str] = []
    making: Making = {"progress": progress, "production": builds_nothing(inventory)}
    places = chosen(inventory, stack, limit, path)
    for host in (host for host in inventory if host.name in places):
        sources = variable_sources(Path(path), ["all", *host.groups, Path(path).stem], data)
        try:
            settings = stack.settings(dict(host.data.dict()), host.name, sources, host.groups)
        except ConfigProblems as error:
            problems += error.problems
            continue
        checked.settings[host.name] = settings
        for part, one in settings.items():
            try:
                if secrets:
                    resolver(one, host.name, sources)
                if artifacts:
                    _pinned(checked, host.name, part, one, making)
            except ConfigProblems as error:
                problems += error.problems
            except Refused as error:
                others.append(str(error))
    problems += _fleet_problems(inventory, checked)
    if problems or others:
        raise CheckFailed(problems, others)
    return checked


def _pinned(
    checked: Checked, host: str, part: str, settings: StackSettings, making: Making
) -> None:
    """Find what the pin of one part names: a file here, or images by digest in the lock file."""
    if settings.source() is not None:
        found = Artifact.locate(cast(Pinned, settings), Path.cwd(), **making)
        checked.artifacts.setdefault(host, {})[part] = found
    elif uses_images(settings):
        images = pinned(settings, Path.cwd())
        own = {role: images[role] for role in settings.own_images()}
        checked.images.setdefault(host, {})[part] = own


def _fleet_problems(inventory: Inventory, checked: Checked) -> list[Problem]:
    """Return what only the hosts together show to be wrong, those beyond the limit included."""
    fleet = STACKS["xingrin"]
    if not any(part in fleet.parts for parts in checked.settings.values() for part in parts):
        return []
    from stackpin.config import xingrin_fleet  # noqa: PLC0415 - where there is a fleet only

    members = {}
    for host in inventory:
        members[host.name] = xingrin_fleet.Member(
            host.groups,
            checked.settings.get(host.name) or _beyond(host),
            str(host.data.get("ssh_hostname") or host.name),
            int(host.data.get("ssh_port") or 22),
        )
    return xingrin_fleet.problems(members)


def _beyond(host: Host) -> dict[str, StackSettings]:
    """Load the settings of a host this run leaves alone; its own mistakes are not this run's."""
    try:
        return STACKS["xingrin"].settings(dict(host.data.dict()), host.name, None, host.groups)
    except ConfigProblems:
        return {}


def variable_sources(
    inventory: Path, groups: Sequence[str], data: Mapping[str, Any]
) -> dict[str, str]:
    """Map each variable to the file that set it; later groups win, as pyinfra merges them."""
    sources: dict[str, str] = {}
    folders = [Path("group_data"), inventory.parent / "group_data"]
    for group in dict.fromkeys(groups):
        for folder in folders:
            file = folder / f"{group}.py"
            if file.is_file():
                sources |= dict.fromkeys(_assigned(file), str(file))
    return sources | dict.fromkeys(data, "--data")


def _assigned(file: Path) -> list[str]:
    names: list[str] = []
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.append(node.target.id)
    return names
