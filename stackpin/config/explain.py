"""Turns pydantic's errors into found, expected and remedy, without ever showing a secret."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel

SOURCE_KINDS = frozenset({"file", "url", "git", "image"})
_BRANCH = r"[\[(]|^(TlsFiles|SecretRef|Mirrors)$|^constrained-"
SHOWN = 80  # characters of a found value
_HIDING = {"headers", "jwt"}  # entries with a secret in them, or with one where none belongs


class Told(NamedTuple):
    """The parts of a message. `{file}` in the remedy stands for the variable's file."""

    variable: str
    found: str
    expected: str
    remedy: str


_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "True or False",
    "dict_type": "a mapping {...}",
    "list_type": "a list [...]",
    "model_type": "a mapping {...}",
    "model_attributes_type": "a mapping {...}",
    "string_pattern_mismatch": "text matching {pattern}",
    "string_too_short": "text of at least {min_length} characters",
    "too_short": "at least {min_length} entries",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "one of {expected}",
    "union_tag_invalid": "a kind of {expected_tags}",
    "union_tag_not_found": 'a "kind"',
}


def explain(
    model: type[BaseModel], prefix: str, error: Mapping[str, Any], hidden: Collection[str]
) -> Told:
    """One pydantic error (of `errors()`) in our words; values of `hidden` fields are not shown."""
    location = _entries(error["loc"])
    field = str(location[0]) if location else ""
    variable = (prefix + field if field else f"{prefix}*") + _path(location[1:])
    context, kind = error.get("ctx") or {}, error["type"]
    example = _example(model, field)
    at = f"Set {variable} = {example} in {{file}}." if example else "Change it in {file}."
    if kind == "stackpin":
        remedy = str(context.get("remedy") or at)
        return Told(variable, _found(model, error, hidden), str(context["expected"]), remedy)
    if kind == "missing":
        remedy = at if len(location) == 1 else "Add it in {file}."
        return Told(variable, "nothing", "a value" if field else "settings", remedy)
    if kind == "extra_forbidden":
        names = ", ".join(_names(model, location))
        expected = f"one of {names}" if names else "no such entry"
        return Told(variable, "an unknown entry", expected, "Remove or rename it.")
    text = _KINDS.get(kind, str(error["msg"])[:1].lower() + str(error["msg"])[1:])
    expected = re.sub(r"\{(\w+)\}", lambda match: str(context.get(match[1], match[0])), text)
    remedy = at if len(location) == 1 else "Correct it in {file}."
    return Told(variable, _found(model, error, hidden), expected, remedy)


def relevant(errors: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Drop errors of a union's other branch: whoever wrote a mapping did not mean a word."""
    branch = {"literal_error": dict, "model_type": str, "model_attributes_type": str}
    branch |= {"string_type": dict, "dict_type": str}
    listed = list(errors)
    fields = [error["loc"][0] if error["loc"] else "" for error in listed]
    return [
        error
        for error, field in zip(listed, fields, strict=True)
        if fields.count(field) == 1
        or not isinstance(error["input"], branch.get(error["type"], type(None)))
    ]


def found(value: object, hide: bool = False) -> str:
    """`value` for a message: shortened, passwords of URLs masked, or only its kind when `hide`."""
    if isinstance(value, str):
        if not value:
            return "an empty text"
        if hide:
            return f"a text of {len(value)} characters, not shown"
        text = re.sub(r"//[^/@\s]*@", "//***@", repr(value))
    elif hide and isinstance(value, dict | list | tuple):
        return f"a {type(value).__name__} of {len(value)} entries, not shown"
    elif hide:
        return f"a {type(value).__name__}, not shown"
    else:
        text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def _found(model: type[BaseModel], error: Mapping[str, Any], hidden: Collection[str]) -> str:
    field = str(error["loc"][0]) if error["loc"] else ""
    value = error["input"]
    if not field and isinstance(value, dict):
        return "the values given"
    return found(
        value, hide=bool(field in hidden or _secret(model, field) or _HIDING & {*error["loc"]})
    )


def _secret(model: type[BaseModel], field: str) -> bool:
    info = model.model_fields.get(field)
    if info is None:
        return True
    # A mapping or list may have a secret anywhere in it, for instance a check's headers or a key.
    return bool(re.search(r"SecretRef|Check|TlsFiles", str(info.annotation)))


def _entries(location: tuple[int | str, ...]) -> list[int | str]:
    """Drop what names a branch of a union ("http" of a check) rather than an entry."""
    kept: list[int | str] = []
    for index, part in enumerate(location):
        branch = isinstance(part, str) and re.search(_BRANCH, part)
        check = index == 2 and isinstance(location[1], int) and location[0] == "extra_checks"
        # The kind of a source; a later "url" is an entry of that name.
        source = kept == ["artifact"] and part in SOURCE_KINDS and location[index - 1] != part
        if not branch and not check and not source:
            kept.append(part)
    return kept


def _path(parts: list[Any]) -> str:
    return "".join(f"[{part!r}]" for part in parts)


def _example(model: type[BaseModel], field: str) -> str:
    info = model.model_fields.get(field)
    return repr(info.examples[0]) if info is not None and info.examples else ""


def _names(model: type[BaseModel], location: list[Any]) -> list[str]:
    info = model.model_fields.get(str(location[0])) if location else None
    inner = info.annotation if info is not None else None
    if len(location) == 2 and isinstance(inner, type) and issubclass(inner, BaseModel):
        return sorted(inner.model_fields)
    return []
