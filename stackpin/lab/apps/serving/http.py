"""HTTP messages: reading a request strictly, writing a response in one piece."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, BinaryIO
from urllib.parse import parse_qsl

MAX_BODY = 1024 * 1024
MAX_HEAD = 32 * 1024
MAX_LINE = 16 * 1024


class HttpError(Exception):
    """An answer other than success, as JSON with a message for the caller."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass
class Request:
    """One request. Header names are in lower case; values are latin-1 text, as on the wire."""

    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    keep_alive: bool = True
    version: str = "HTTP/1.1"

    @property
    def path(self) -> str:
        """The path, still percent-encoded, so that routing and proxies see the same thing."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        """The query parameters; the last one of a name wins."""
        return dict(parse_qsl(self.target.partition("?")[2], max_num_fields=50))

    def json(self) -> dict[str, Any]:
        """Return the body as a JSON object that can be stored and written again, else 400."""
        try:
            value = json.loads(self.body.decode("utf-8"))
            # A second opinion: half surrogates, infinities and the like cannot be written back.
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
        except (ValueError, RecursionError) as error:
            raise HttpError(400, "the body is not valid JSON") from error
        if not isinstance(value, dict):
            raise HttpError(400, "the body must be a JSON object")
        return value


@dataclass
class Response:
    """One response; the server adds the headers that every response has."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_json(cls, value: object, status: int = 200, **headers: str) -> "Response":
        """Return a JSON response in the compact form, without blanks."""
        body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return cls(status, body, headers=named)

    @classmethod
    def of_text(cls, text: str, status: int = 200) -> "Response":
        """Return a plain text response."""
        return cls(status, text.encode(), "text/plain; charset=utf-8")

    @classmethod
    def of_error(cls, error: HttpError) -> "Response":
        """Return the JSON form of an error."""
        response = cls.of_json({"error": error.message}, error.status)
        response.headers.update(error.headers)
        return response

    def pieces(self, *, head_only: bool, close: bool) -> Iterator[bytes]:
        """Give what is sent, in order; a response that is not held as a whole has many pieces."""
        yield self.encode(head_only=head_only, close=close)

    def encode(self, *, head_only: bool, close: bool) -> bytes:
        """Return the whole message, always with its length: no reader has to guess an end."""
        phrase = HTTPStatus(self.status).phrase
        lines = [f"HTTP/1.1 {self.status} {phrase}", f"Date: {formatdate(usegmt=True)}"]
        if self.status != HTTPStatus.NO_CONTENT:
            lines += [f"Content-Type: {self.content_type}", f"Content-Length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines.append(f"Connection: {'close' if close else 'keep-alive'}")
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        return head if head_only else head + self.body


def read_head(first_line: bytes, reader: BinaryIO) -> Request:
    """Return the request that begins with `first_line`, without its body yet."""
    words = first_line.decode("latin-1").rstrip("\r\n").split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.1", "HTTP/1.0") or not words[0].isalpha():
        raise HttpError(400, "this is not an HTTP/1.1 request")
    if not words[1].startswith("/"):
        raise HttpError(400, "the request target must be a path")
    request = Request(words[0], words[1], _read_headers(reader), version=words[2])
    options = request.headers.get("connection", "").lower()
    if words[2] == "HTTP/1.0":
        request.keep_alive = "keep-alive" in options
    else:
        request.keep_alive = "close" not in options
        if "host" not in request.headers:
            raise HttpError(400, "the Host header is missing")
    return request


def _read_headers(reader: BinaryIO) -> dict[str, str]:
    headers: dict[str, str] = {}
    size = 0
    while (line := reader.readline(MAX_LINE)) not in (b"\r\n", b"\n"):
        size += len(line)
        if size > MAX_HEAD or (line and not line.endswith(b"\n")):
            raise HttpError(431, "the request headers are too large")
        name, colon, value = line.decode("latin-1").partition(":")
        # No blank may stand before the colon or begin a line: both are ways to smuggle.
        if not colon or not name or name != name.strip():
            raise HttpError(400, "a request header is malformed")
        name = name.lower()
        if name in headers and name in ("content-length", "authorization", "host"):
            raise HttpError(400, f"the {name} header is there twice")
        headers[name] = value.strip(" \t\r\n")
    return headers


def body_length(request: Request) -> int:
    """How many bytes of body follow; only a declared, bounded length is taken."""
    if "transfer-encoding" in request.headers:
        raise HttpError(411, "send the body with a Content-Length")
    text = request.headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit()):
        raise HttpError(400, "the Content-Length makes no sense")
    # The length of the text is bounded first: int() of thousands of digits is refused by Python.
    if len(text) > 12 or int(text) > MAX_BODY:
        raise HttpError(413, f"the body may have {MAX_BODY} bytes at most")
    return int(text)
