"""A wrong variable as a value, and the error that carries all of them at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pydantic_core import PydanticCustomError

from stackpin.errors import Refused


@dataclass(frozen=True, order=True)
class Problem:
    """One wrong variable: where, what was found and expected, what to do. No secret values."""

    file: str
    variable: str
    host: str
    found: str
    expected: str
    remedy: str

    def __str__(self) -> str:
        place = " ".join(part for part in (self.file, self.host and f"(host {self.host})") if part)
        return (
            f"{place or 'group data'}: {self.variable}: found {self.found}, "
            f"expected {self.expected}. {self.remedy}"
        )


class ConfigProblems(Refused):
    """Every problem of one `load` (or of many, merged). Exit code 3."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        """`problems` may repeat: one shared by several hosts is shown once, naming them all."""
        self.problems = tuple(dict.fromkeys(problems))
        super().__init__("\n".join(str(problem) for problem in merged(self.problems)))


def merged(problems: Iterable[Problem]) -> list[Problem]:
    """Join problems which differ by host alone; `host` then lists the hosts, comma separated."""
    hosts: dict[Problem, list[str]] = {}
    for problem in problems:
        names = hosts.setdefault(replace(problem, host=""), [])
        if problem.host and problem.host not in names:
            names.append(problem.host)
    return [replace(problem, host=", ".join(names)) for problem, names in hosts.items()]


def invalid(expected: str, remedy: str = "") -> PydanticCustomError:
    """Make the error a validator raises: `expected` completes "expected ...", `remedy` advises."""
    return PydanticCustomError("stackpin", "{expected}", {"expected": expected, "remedy": remedy})
