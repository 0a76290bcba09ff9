"""Answers as the real API gives them: camelCase JSON, with the errors of its framework."""

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from typing import Any
from urllib.parse import parse_qs, urlsplit

__all__ = ["Answer", "Problem", "Request", "camel", "page_of", "snake"]

PAGE_SIZE = 10
MAX_PAGE_SIZE = 1000


@dataclass(frozen=True)
class Request:
    """One HTTP request: `target` is path and query as sent, header names are in lower case."""

    method: str
    target: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """The path without its query."""
        return urlsplit(self.target).path

    def parameter(self, name: str) -> str:
        """Return the last value of a query parameter, or an empty text."""
        return parse_qs(urlsplit(self.target).query).get(name, [""])[-1]

    def data(self) -> dict[str, Any]:
        """Read the JSON body with snake_case keys; Problem 400 when it is none."""
        if not self.body.strip():
            return {}
        try:
            found = json.loads(self.body)
        except (ValueError, UnicodeDecodeError) as error:
            raise Problem(400, {"detail": f"JSON parse error - {error}"}) from error
        if not isinstance(found, dict):
            raise Problem(400, {"detail": "Invalid data. Expected a dictionary."})
        return {snake(name): value for name, value in found.items()}


@dataclass(frozen=True)
class Answer:
    """One answer; the body's keys are still in snake_case."""

    status: int
    body: Any
    headers: tuple[tuple[str, str], ...] = ()

    def json(self) -> bytes:
        """Write the body as it is sent."""
        text = json.dumps(
            camelise(self.body), default=_plain, ensure_ascii=False, separators=(",", ":")
        )
        return text.encode()


class Problem(Exception):  # noqa: N818 - it is an answer too
    """An error answer: status and body."""

    def __init__(self, status: int, body: object) -> None:
        super().__init__(status, body)
        self.answer = Answer(status, body)


def snake(name: str) -> str:
    """`ipAddress` -> `ip_address`; a name in snake_case stays as it is."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: f"_{found[1].lower()}", name)


def camel(name: str) -> str:
    """`ip_address` -> `ipAddress`."""
    return re.sub(r"(?<=[a-z0-9])_([a-z0-9])", lambda found: found[1].upper(), name)


def camelise(value: Any) -> Any:  # noqa: ANN401
    """Turn every key inside `value` into camelCase."""
    if isinstance(value, dict):
        return {camel(str(name)): camelise(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [camelise(inner) for inner in value]
    return value


def page_of(request: Request, total: int) -> tuple[int, int, dict[str, Any]]:
    """Return offset, limit and what a list answer says besides `results`; Problem 404 past it."""
    size = _number(request.parameter("pageSize"), PAGE_SIZE)
    size = min(size, MAX_PAGE_SIZE) if size > 0 else PAGE_SIZE
    pages = max(1, ceil(total / size))
    wanted = request.parameter("page") or "1"
    page = pages if wanted == "last" else _number(wanted, 0)
    if not 1 <= page <= pages:
        raise Problem(404, {"detail": "Invalid page."})
    about = {"total": total, "page": page, "page_size": size, "total_pages": pages}
    return (page - 1) * size, size, about


def _number(text: str, otherwise: int) -> int:
    return int(text) if text.isdigit() else otherwise


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    raise TypeError(f"not JSON: {value!r}")
