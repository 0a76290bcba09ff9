"""Secrets made up on a host: which there are, never what they are."""

# ruff: noqa: D102 - what default, command and process do is told once, by pyinfra
from __future__ import annotations

import shlex

from pyinfra.api.facts import FactBase


class Names(FactBase[list[str]]):
    """Names of the variables in the environment file at `path`; none where it is absent."""

    @staticmethod
    def default() -> list[str]:
        return []

    def command(self, path: str) -> str:
        name = shlex.quote(path)
        pattern = r"s/^\([A-Za-z_][A-Za-z0-9_]*\)=..*$/\1/p"
        return f"if [ -f {name} ]; then sed -n '{pattern}' {name}; fi; true"

    def process(self, output: list[str]) -> list[str]:
        return [line.strip() for line in output if line.strip()]
