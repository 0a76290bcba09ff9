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
    name that is none is left out.
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
        position += 2 if text[position] == "\\" else 1  # a backslash continues a comment, too
    return position


def _value(text: str, position: int) -> tuple[str, int]:
    """Read the value that begins at `position`, and where the next line does."""
    end, value = len(text), ""
    while position < end and text[position] in " \t":
        position += 1
    kept = 0  # what of `value` stays when blanks at its end are cut
    while position < end and text[position] not in _NEWLINE:
        character = text[position]
        if character in "\"'" and kept == len(value):
            value, position = _quoted(text, position, value)
            kept = len(value)
            while position < end and text[position] in " \t":
                position += 1
            continue
        if character == "\\":
            position += 1
            if position < end and text[position] not in _NEWLINE:
                value += text[position]
                kept = len(value)
            position += 1
            continue
        value += character
        if character not in " \t":
            kept = len(value)
        position += 1
    return value[:kept], position + 1


def _quoted(text: str, position: int, value: str) -> tuple[str, int]:
    quote, end = text[position], len(text)
    position += 1
    while position < end and text[position] != quote:
        character = text[position]
        position += 1
        if character == "\\" and quote == '"' and position < end:
            escaped = text[position]
            position += 1
            if escaped in _ESCAPED:
                value += escaped
            elif escaped != "\n":
                value += "\\" + escaped
        else:
            value += character
    return value, position + 1
