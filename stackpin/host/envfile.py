"""Reads environment files the way systemd's EnvironmentFile= does (load_env_file)."""

from __future__ import annotations

import re
from collections.abc import Iterator

_BLANK = " \t\n\r"
_NEWLINE = "\n\r"
_ESCAPED = '"\\`$'  # what a backslash escapes inside double quotes
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def parse_env(text: str) -> dict[str, str]:
    """Variables of an environment file; of a name given twice the last value counts.

    As in systemd, lines beginning with # or ; are comments, text without "=" is skipped, and a
    name that is none is left out. Before systemd 254 a backslash continued a comment, too; we
    write no comments.
    """
    return {name: value for name, value in _assignments(text) if _NAME.fullmatch(name)}


def _assignments(text: str) -> Iterator[tuple[str, str]]:
    position, end = 0, len(text)
    while position < end:
        character = text[position]
        if character in _BLANK:
            position += 1
        elif character in "#;":
            position = _comment(text, position)
        else:
            stop = position
            while stop < end and text[stop] not in _NEWLINE + "=":
                stop += 1
            name = text[position:stop].rstrip(_BLANK)
            position = stop + 1
            if stop < end and text[stop] == "=":
                value, position = _value(text, position)
                yield name, value


def _comment(text: str, position: int) -> int:
    while position < len(text) and text[position] not in _NEWLINE:
        position += 1
    return position


def _value(text: str, position: int) -> tuple[str, int]:
    """Read the value that begins at `position`, and where the next line does."""
    end, value = len(text), ""
    kept = 0  # what of `value` stays when blanks at its end are cut
    begun = False  # a quote counts only before the first bare character
    while position < end and text[position] not in _NEWLINE:
        character = text[position]
        if not begun and character in "\"'":
            value, position = _quoted(text, position, value)
            kept = len(value)
            continue
        position += 1
        if not begun and character in " \t":
            continue
        begun = True
        if character == "\\":
            if position < end and text[position] not in _NEWLINE:
                value += text[position]
            position += 1
            kept = len(value)
            continue
        value += character
        if character not in " \t":
            kept = len(value)
    return value[:kept], position + 1


def _quoted(text: str, position: int, value: str) -> tuple[str, int]:
    quote, end = text[position], len(text)
    position += 1
    while position < end and text[position] != quote:
        character = text[position]
        position += 1
        if character == "\\" and quote == '"':
            escaped = text[position] if position < end else "\n"
            position += 1
            if escaped in _ESCAPED:
                value += escaped
            elif escaped != "\n":
                value += "\\" + escaped
        else:
            value += character
    return value, position + 1
