"""Turns a host's flat group data into settings, or into every problem they have."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from stackpin.config.common import Shared, StackSettings
from stackpin.config.explain import explain, found, relevant
from stackpin.config.problems import ConfigProblems, Problem

Settings = TypeVar("Settings", bound=StackSettings)
CLOSE = 0.8  # how alike a misspelt name must be to be worth proposing


def load(
    model: type[Settings],
    prefix: str,
    data: Mapping[str, object],
    host: str,
    sources: Mapping[str, str] | None = None,
) -> Settings:
    """Make the settings of one stack for one host.

    `data` is flat group data (other prefixes are left alone), `prefix` the stack's ("crm_"),
    `sources` maps a variable to the file that set it, for messages. Raises ConfigProblems with
    every problem: wrong, missing, unknown and misspelt variables.
    """
    where = _Where(host, sources or {})
    production = data.get("stackpin_production") is True
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, part in model.also.items():
        own = _own(data, part.prefix)
        names = part.names or frozenset(part.model.model_fields)
        if part.names or part.model is Shared:  # else another stack's load tells unknown names
            problems += _unknown(own, names, part.prefix, where)
        known = {key: value for key, value in own.items() if key in part.model.model_fields}
        values[name] = _validated(part.model, part.prefix, known, production, where, problems)
    names = frozenset(set(model.model_fields) - set(model.also))
    own = _own(data, prefix)
    problems += _unknown(own, names, prefix, where)
    problems += _misspelt(data, [prefix + name for name in names], where, model, prefix)
    known = {key: value for key, value in own.items() if key in names}
    settings = _validated(model, prefix, known, production, where, problems, parts=values)
    if problems or settings is None:
        raise ConfigProblems(problems)
    return settings


def load_shared(
    data: Mapping[str, object], host: str, sources: Mapping[str, str] | None = None
) -> Shared:
    """Make the settings of the tool itself (stackpin_*) for one host. Raises ConfigProblems."""
    where = _Where(host, sources or {})
    own = _own(data, "stackpin_")
    problems = _unknown(own, frozenset(Shared.model_fields), "stackpin_", where)
    known = {key: value for key, value in own.items() if key in Shared.model_fields}
    shared = _validated(Shared, "stackpin_", known, False, where, problems)
    if problems or shared is None:
        raise ConfigProblems(problems)
    return shared


class _Where:
    """Where variables came from, and so where a missing one belongs."""

    def __init__(self, host: str, sources: Mapping[str, str]) -> None:
        self.host, self.sources = host, sources

    def file(self, variable: str, prefix: str) -> str:
        """Name the file that set `variable`; for an unset one, the file that has its neighbours."""
        if variable in self.sources:
            return self.sources[variable]
        beside = [file for name, file in self.sources.items() if name.startswith(prefix)]
        return max(sorted(set(beside)), key=beside.count, default="")


def _own(data: Mapping[str, object], prefix: str) -> dict[str, object]:
    return {key[len(prefix) :]: value for key, value in data.items() if key.startswith(prefix)}


M = TypeVar("M", bound=BaseModel)


def _validated(  # noqa: PLR0917
    model: type[M],
    prefix: str,
    known: dict[str, object],
    production: bool,
    where: _Where,
    problems: list[Problem],
    *,
    parts: Mapping[str, Any] | None = None,
) -> M | None:
    given = {key: value for key, value in (parts or {}).items() if value is not None}
    try:
        return model.model_validate({**known, **given}, context={"production": production})
    except ValidationError as errors:
        hidden: frozenset[str] = getattr(model, "hidden", frozenset())
        for error in relevant(errors.errors(include_url=False)):
            field = str(error["loc"][0]) if error["loc"] else ""
            told = explain(model, prefix, error, hidden)
            file = where.file(prefix + field, prefix)
            remedy = told.remedy.replace("{file}", file or "group data")
            problems.append(
                Problem(file, told.variable, where.host, told.found, told.expected, remedy)
            )
        return None


def _unknown(
    own: Mapping[str, object], names: frozenset[str], prefix: str, where: _Where
) -> list[Problem]:
    problems = []
    for key, value in own.items():
        if key in names:
            continue
        close = difflib.get_close_matches(key, sorted(names), 1, 0.6)
        remedy = f"Did you mean {prefix}{close[0]}?" if close else "Remove it."
        problems.append(
            Problem(
                file=where.file(prefix + key, prefix),
                variable=prefix + key,
                host=where.host,
                found=f"an unknown variable ({found(value, hide=True)})",
                expected=f"a variable of {prefix}*, all listed in docs/reference/variables.md",
                remedy=remedy,
            )
        )
    return problems


def _misspelt(
    data: Mapping[str, object],
    names: list[str],
    where: _Where,
    model: type[StackSettings],
    prefix: str,
) -> list[Problem]:
    """Variables with a misspelt prefix ("cmr_version"): pyinfra would ignore them in silence."""
    prefixes = (prefix, *(part.prefix for part in model.also.values()), "ssh_", "_")
    problems = []
    for key, value in data.items():
        if key in names or key.startswith(prefixes) or not re.match(r"[a-z]+_", key):
            continue
        head = prefix.removesuffix("_")
        if sorted(key.partition("_")[0]) != sorted(head) and not key.startswith(head):
            continue
        close = difflib.get_close_matches(key, names, 1, CLOSE)
        if close:
            problems.append(
                Problem(
                    file=where.file(key, prefix),
                    variable=key,
                    host=where.host,
                    found=f"a variable nobody reads ({found(value, hide=True)})",
                    expected=f"{close[0]}",
                    remedy=f"Did you mean {close[0]}? Rename it.",
                )
            )
    return problems
