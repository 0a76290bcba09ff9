"""Checks of what callers send, shared by the handlers. Each refuses with 400 and a reason."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ...serving.http import HttpError

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9_-]|\.(?!\.)){0,62}(?<!\.)", re.ASCII)


def text(body: Mapping[str, Any], name: str, *, longest: int = 200) -> str:
    """Require a, trimmed, printable text."""
    value = body.get(name)
    if not isinstance(value, str) or not value.strip():
        raise HttpError(400, f"{name} is required and must be a text")
    value = value.strip()
    if len(value) > longest or any(ord(c) < 0x20 or ord(c) == 0x7F for c in value):
        raise HttpError(400, f"{name} may have {longest} printable characters at most")
    return value


def slug(value: object, name: str) -> str:
    """Return an identifier that is safe as a file name and in a URL."""
    if not isinstance(value, str) or not _SLUG.fullmatch(value):
        raise HttpError(400, f"{name} must be lower case letters, digits, and . _ - between them")
    return value


def is_web_url(value: object) -> bool:
    """Whether this is an http or https URL with a host and without credentials."""
    if not isinstance(value, str) or len(value) > 500 or not value.isprintable() or " " in value:
        return False
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc


def web_url(body: Mapping[str, Any], name: str) -> str:
    """Require a http or https URL."""
    value = body.get(name)
    if not isinstance(value, str) or not is_web_url(value):
        raise HttpError(400, f"{name} must be an http or https URL")
    return value


def number(value: str, name: str, *, highest: int = 2**53) -> int:
    """Return a whole number above zero, from a path or a query; 404 is for the caller to decide."""
    if not re.fullmatch(r"[0-9]{1,16}", value, re.ASCII) or not 0 < int(value) <= highest:
        raise HttpError(400, f"{name} must be a number from 1 to {highest}")
    return int(value)


def row_id(body: Mapping[str, Any], name: str) -> int:
    """Require a row id in a JSON body."""
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= 2**53:
        raise HttpError(400, f"{name} is required and must be a number")
    return value


def objects(body: Mapping[str, Any], name: str, *, most: int = 500) -> list[dict[str, Any]]:
    """Require a, bounded list of JSON objects."""
    value = body.get(name)
    if not isinstance(value, list) or not value or len(value) > most:
        raise HttpError(400, f"{name} must be a list of 1 to {most} objects")
    if not all(isinstance(item, dict) for item in value):
        raise HttpError(400, f"{name} must be a list of objects")
    return value
