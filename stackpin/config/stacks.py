"""The stacks there are: which deploy files, which settings, which pin."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

from stackpin.config.common import StackSettings
from stackpin.config.load import load
from stackpin.config.problems import ConfigProblems, Problem
from stackpin.errors import Refused


@dataclass(frozen=True)
class Stack:
    """One deployable thing. A stack with `parts` is those stacks, in that order."""

    name: str
    deploys: tuple[str, ...]  # deploy files, relative to the repository
    parts: tuple[str, ...] = ()
    settings_class: str = ""  # module:class below stackpin.config, imported when it is needed
    prefix: str = ""
    version_variable: str | None = None  # the pin that `update` bumps
    group: str | None = None  # only hosts of this inventory group have it; None: every host
    on_failure: Literal["halt", "rollback"] = "halt"  # what a stopped run does with changed hosts
    tolerates_unreachable: bool = False  # a host out of reach is left for the next run
    keeper: str | None = None  # the part whose backups hold this one's data; None: its own do
    entry: str | None = None  # the part `tunnel` leads to; None: the first that runs as a service
    witness: str | None = None  # the stack whose host tells whether one of these is healthy

    @property
    def model(self) -> type[StackSettings] | None:
        """The class of the settings; None for a stack with parts."""
        module, _, name = self.settings_class.partition(":")
        if not module:
            return None
        found: type[StackSettings] = getattr(import_module(f"stackpin.config.{module}"), name)
        return found

    def applies_to(self, groups: Sequence[str] | None) -> bool:
        """Whether a host in the inventory groups `groups` has this (None: not asked, so yes).

        A stack with parts applies where one of its parts does.
        """
        if groups is None:
            return True
        return any(part.group is None or part.group in groups for part in self.components())

    def components(self) -> list[Stack]:
        """List the stacks with settings this one consists of: itself, or its parts in order."""
        return [STACKS[name] for name in self.parts] or [self]

    def settings(
        self,
        data: Mapping[str, object],
        host: str,
        sources: Mapping[str, str] | None = None,
        groups: Sequence[str] | None = None,
    ) -> dict[str, StackSettings]:
        """Load settings by component name, of those components a host in `groups` has.

        Without `groups` those of all. Raises ConfigProblems with all components' problems.
        """
        found: dict[str, StackSettings] = {}
        problems: list[Problem] = []
        for part in self.components():
            if not part.applies_to(groups):
                continue
            model = part.model
            assert model is not None  # noqa: S101 - components have models
            try:
                found[part.name] = load(model, part.prefix, data, host, sources)
            except ConfigProblems as error:
                problems += error.problems
        if problems:
            raise ConfigProblems(problems)
        return found


def _infracore(part: str) -> Stack:
    return Stack(
        f"infracore-{part}",
        ("deploys/infracore.py",),
        (),
        f"infracore:Infracore{part.title()}",
        "infracore_",
        "infracore_version",
        group="infracore",
        on_failure="rollback",
        keeper=None if part == "files" else "infracore-files",
    )


# In the order of a rollout.
_INFRACORE = [
    _infracore(part) for part in ("files", "snap", "probe", "orchestrator", "console", "gate")
]

STACKS: dict[str, Stack] = {
    "crm": Stack("crm", ("deploys/crm.py",), (), "crm:CrmSettings", "crm_", "crm_version"),
    "portal": Stack("portal", ("deploys/portal.py",), (), "portal:PortalSettings", "portal_"),
    "site": Stack("site", ("deploys/site.py",), ("portal", "crm"), version_variable="crm_version"),
    "xingrin": Stack(
        "xingrin",
        ("deploys/xingrin.py", "deploys/workers.py"),
        ("xingrin-server", "xingrin-worker"),
        version_variable="xingrin_version",
        on_failure="rollback",
        tolerates_unreachable=True,
    ),
    "xingrin-server": Stack(
        "xingrin-server",
        ("deploys/xingrin.py",),
        (),
        "xingrin:XingrinServer",
        "xingrin_",
        "xingrin_version",
        group="xingrin",
        on_failure="rollback",
    ),
    "xingrin-worker": Stack(
        "xingrin-worker",
        ("deploys/workers.py",),
        (),
        "xingrin:XingrinWorker",
        "xingrin_",
        "xingrin_version",
        group="workers",
        on_failure="rollback",
        tolerates_unreachable=True,
        witness="xingrin-server",
    ),
    "infracore": Stack(
        "infracore",
        ("deploys/infracore.py",),
        tuple(part.name for part in _INFRACORE),
        version_variable="infracore_version",
        on_failure="rollback",
        entry="infracore-console",
    ),
    **{part.name: part for part in _INFRACORE},
}


def stack(name: str) -> Stack:
    """Find a stack by name. Raises Refused, with a proposal where the name is close to one."""
    if name in STACKS:
        return STACKS[name]
    close = difflib.get_close_matches(name, STACKS, 1)
    hint = f"Did you mean {close[0]}?" if close else "Choose one of them."
    raise Refused(f"stack {name!r} is unknown: found none of {', '.join(STACKS)}. {hint}")
