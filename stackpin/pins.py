"""Reads and bumps a version pin in group data: only the literal changes, byte for byte."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from stackpin import assignments
from stackpin.config.types import release_tag
from stackpin.errors import Refused

_LITERAL = re.compile(rb"""(?P<open>\'{3}|["]{3}|['"])(?P<text>[!-~]*?)(?P=open)""")


@dataclass(frozen=True)
class Pin:
    """One pin: `variable = "value"` at `line` (from 1) of `path`."""

    path: Path
    variable: str
    value: str
    line: int


def pin_file(inventory: Path) -> Path:
    """Name the group data file that holds an inventory's pins: inventories/group_data/prod.py."""
    return inventory.parent / "group_data" / f"{inventory.name.removesuffix('.py')}.py"


def read(path: Path, variable: str) -> Pin:
    """Find the pin. Raises Refused when it is absent, there twice, or no plain literal."""
    return _find(_source(path, variable), path, variable)[0]


def bump(path: Path, variable: str, version: str) -> Pin:
    """Replace the literal by `version`, atomically; return the pin as it was before.

    Raises Refused as `read` does, or when `version` is no release tag.
    """
    try:
        release_tag(version)
    except ValueError as error:  # PydanticCustomError is one
        raise Refused(f"{variable}: found {version!r}, expected {error}") from None
    return _replace(path, variable, version)


def restore(old: Pin, written: str) -> bool:
    """Put back the value that `bump` replaced by `written`, whatever it was. Raises Refused.

    False, and nothing done, when the file says something else by now: somebody's own decision.
    """
    if read(old.path, old.variable).value != written:
        return False
    _replace(old.path, old.variable, old.value)
    return True


def _replace(path: Path, variable: str, value: str) -> Pin:
    source = _source(path, variable)
    pin, start, stop = _find(source, path, variable)
    if pin.value != value:
        assignments.write(path, source, source[:start] + value.encode("ascii") + source[stop:])
    return pin


def _source(path: Path, variable: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Refused(
            f"{path}: found {(error.strerror or str(error)).lower()}, expected a group data file "
            f'with {variable} = "v1.2.3". Make it.'
        ) from None


def _find(source: bytes, path: Path, variable: str) -> tuple[Pin, int, int]:
    """Find the pin, and from where to where its text goes (in bytes, without the quotes)."""
    tree = assignments.parse(source, path)
    bound = assignments.bound(tree, variable)
    if len(bound) != 1:
        count = f"{len(bound)} times" if bound else "nowhere"
        lines = ", ".join(str(getattr(node, "lineno", "?")) for node in bound)
        raise Refused(
            f"{path}: found {variable} set {count}{f' (lines {lines})' if lines else ''}, "
            f'expected exactly one line {variable} = "v1.2.3". Correct it.'
        )
    value = assignments.plain_value(tree, bound[0])
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        begin, end = assignments.span(source, value)
        match = _LITERAL.fullmatch(source, begin, end)
        if match and match["text"].decode("ascii") == value.value:
            return Pin(path, variable, value.value, value.lineno), *match.span("text")
    raise Refused(
        f"{path}:{getattr(bound[0], 'lineno', '?')}: found {variable} set by something else than a "
        f'plain literal, expected {variable} = "v1.2.3" on its own line. Rewrite it so.'
    )
