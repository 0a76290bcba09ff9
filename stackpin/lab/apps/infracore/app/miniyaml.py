"""The part of YAML that configuration files use: mappings, lists and scalars, in block style.

Hosts have Python but no YAML package. What is outside the subset (anchors, tags, block text, lists
of mappings) is refused with its line, never guessed. JSON is YAML, and is taken as a whole.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

__all__ = ["YamlError", "parse"]

_KEY = re.compile(r"""("(?:\\.|[^"\\])*"|'[^']*'|[\w./-]+)\s*:(?:\s+|$)""")
_ESCAPE = re.compile(r"\\(?:U([0-9A-Fa-f]{8})|.)")
_INT = re.compile(r"[-+]?[0-9]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?[0-9]*\.[0-9]+(?:[eE][-+]?[0-9]+)?", re.ASCII)
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}


class YamlError(Exception):
    """The text is not in the subset; the message names the line."""


@dataclass(frozen=True)
class _Line:
    number: int
    indent: int
    text: str

    def refuse(self, why: str) -> YamlError:
        return YamlError(f"line {self.number}: {why}")


def parse(text: str) -> dict[str, Any]:
    """Return the mapping that the text is; empty text is an empty one."""
    if text.lstrip().startswith("{"):
        return _of_json(text)
    lines = [
        line for number, raw in enumerate(text.splitlines(), 1) if (line := _line(number, raw))
    ]
    if not lines:
        return {}
    if lines[0].indent:
        raise lines[0].refuse("the first line must not be indented")
    value, rest = _block(lines, 0)
    if rest != len(lines):
        raise lines[rest].refuse("this indentation belongs to nothing")
    if not isinstance(value, dict):
        raise lines[0].refuse("expected `key: value`")
    return value


def _of_json(text: str) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise YamlError(str(error)) from error
    return document


def _line(number: int, raw: str) -> _Line | None:
    body = raw.rstrip()
    indent = len(body) - len(body.lstrip(" "))
    text = body[indent:]
    text = text[: _end(text)].rstrip()
    if not text or text == "---":
        return None
    line = _Line(number, indent, text)
    if text.startswith("\t"):
        raise line.refuse("tabs cannot indent")
    return line


def _end(text: str) -> int:
    """Return where a comment begins: at a # after a blank, outside of quotes."""
    quote, before = "", " "
    for at, char in enumerate(text):
        if quote:
            quote = "" if char == quote and before != "\\" else quote
        elif char in "\"'" and before in " [,":
            quote = char
        elif char == "#" and before == " ":
            return at
        before = char
    return len(text)


def _block(lines: list[_Line], at: int) -> tuple[dict[str, Any] | list[Any], int]:
    """Return what the lines of one indentation, from `at` on, are, and where they end."""
    listed = lines[at].text == "-" or lines[at].text.startswith("- ")
    return _sequence(lines, at) if listed else _mapping(lines, at)


def _sequence(lines: list[_Line], at: int) -> tuple[list[Any], int]:
    indent, values = lines[at].indent, []
    while at < len(lines) and lines[at].indent == indent and lines[at].text.startswith("- "):
        item = lines[at].text[2:].strip()
        if _KEY.match(item):
            raise lines[at].refuse("a list may hold plain values only")
        values.append(_scalar(lines[at], item))
        at += 1
    return values, at


def _mapping(lines: list[_Line], at: int) -> tuple[dict[str, Any], int]:
    indent = lines[at].indent
    values: dict[str, Any] = {}
    while at < len(lines) and lines[at].indent == indent:
        line = lines[at]
        if not (found := _KEY.match(line.text)):
            raise line.refuse("expected `key: value`")
        key, rest = str(_scalar(line, found.group(1))), line.text[found.end() :]
        if key in values:
            raise line.refuse(f"the key {key} is there twice")
        at += 1
        if rest:
            values[key] = _scalar(line, rest)
        elif at < len(lines) and _belongs(lines[at], indent):
            values[key], at = _block(lines, at)
        else:
            values[key] = None
    if at < len(lines) and lines[at].indent > indent:
        raise lines[at].refuse("this indentation belongs to nothing")
    return values, at


def _belongs(line: _Line, indent: int) -> bool:
    """Tell whether it is the value: a list may be indented as its key is, a mapping may not."""
    return line.indent > indent or (line.indent == indent and line.text.startswith("- "))


def _scalar(line: _Line, text: str) -> Any:  # noqa: ANN401 - whatever the file holds
    if text[0] in '"[{':
        return _flow(line, text)
    if text[0] == "'":
        return _quoted(line, text)
    if text[0] in "&*!|>%@`{[" or ": " in text:
        raise line.refuse(f"{text[:20]!r} is beyond what this program reads: quote it")
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _flow(line: _Line, text: str) -> Any:  # noqa: ANN401 - whatever the file holds
    """Read what is written as in JSON, with YAML's long escape; of lists also plain words."""
    try:
        return json.loads(_ESCAPE.sub(_as_json, text))
    except ValueError as error:
        if text[0] != "[" or text[-1] != "]" or any(mark in text for mark in "\"'{"):
            raise line.refuse(f"this cannot be read: {error}") from error
        return [_scalar(line, part.strip()) for part in text[1:-1].split(",")]


def _as_json(escape: re.Match[str]) -> str:
    digits = escape.group(1)
    return json.dumps(chr(int(digits, 16)))[1:-1] if digits else escape.group()


def _quoted(line: _Line, text: str) -> str:
    if len(text) < 2 or text[-1] != "'" or "'" in text[1:-1].replace("''", ""):
        raise line.refuse("this is no quoted text")
    return text[1:-1].replace("''", "'")
