"""Everything that can be judged without asking a host: inventory, variables, secrets, artifacts."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stackpin.artifacts import Artifact
from stackpin.config.common import StackSettings
from stackpin.config.crm import CrmSettings
from stackpin.config.problems import ConfigProblems, Problem
from stackpin.config.stacks import Stack
from stackpin.engine.state import load_inventory, select_hosts
from stackpin.errors import Refused
from stackpin.secrets import resolver

__all__ = ["Checked", "check_inventory"]


@dataclass
class Checked:
    """What was found: settings and artifacts by host and stack part."""

    settings: dict[str, dict[str, StackSettings]] = field(default_factory=dict)
    artifacts: dict[str, dict[str, Artifact]] = field(default_factory=dict)


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
) -> Checked:
    """Validate `stack` for the hosts of an inventory file; no host is connected.

    `artifacts` False leaves the pinned files alone, for commands that send none.
    Raises Refused (also CheckFailed, with every problem) when anything is wrong.
    """
    inventory = load_inventory(path, data)
    checked = Checked()
    problems: list[Problem] = []
    others: list[str] = []
    for host in select_hosts(inventory, limit, path):
        values: dict[str, Any] = dict(host.data.dict())
        sources = _sources(Path(path), ["all", *host.groups, Path(path).stem], data)
        try:
            settings = stack.settings(values, host.name, sources)
        except ConfigProblems as error:
            problems += error.problems
            continue
        checked.settings[host.name] = settings
        for part, one in settings.items():
            try:
                resolver(one, host.name, sources)
                if artifacts and isinstance(one, CrmSettings):
                    found = Artifact.locate(one, Path.cwd())
                    checked.artifacts.setdefault(host.name, {})[part] = found
            except ConfigProblems as error:
                problems += error.problems
            except Refused as error:
                others.append(str(error))
    if problems or others:
        raise CheckFailed(problems, others)
    return checked


def _sources(inventory: Path, groups: Sequence[str], data: Mapping[str, Any]) -> dict[str, str]:
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
