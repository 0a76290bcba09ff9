"""Writes environment files that systemd's EnvironmentFile= reads back exactly."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
# What systemd unescapes inside double quotes; before any other character it keeps the backslash.
_ESCAPED = re.compile(r'(["\\`$])')


class UnwritableError(ValueError):
    """A name or value no environment file can carry. The message never has the value."""


def unwritable(value: str) -> str:
    """Why `value` cannot be in an environment file, or "" when it can."""
    for character in value:
        code = ord(character)
        if unicodedata.category(character) == "Cc":
            return "a control character or line break"
        # systemd drops a whole file which holds what it does not take for UTF-8.
        if 0xD800 <= code <= 0xDFFF or 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE:
            return f"the character U+{code:04X}, which is no text"
    return ""


def render_env(variables: Mapping[str, str]) -> str:
    """Text of an environment file with one NAME="value" line per variable, sorted by name.

    Raises UnwritableError naming the variable whose name or value cannot be written.
    """
    lines = []
    for name in sorted(variables):
        if not _NAME.match(name):
            raise UnwritableError(f"{name!r} is not the name of an environment variable")
        reason = unwritable(variables[name])
        if reason:
            raise UnwritableError(f"the value of {name} has {reason}")
        quoted = _ESCAPED.sub(r"\\\1", variables[name])
        lines.append(f'{name}="{quoted}"\n')
    return "".join(lines)
