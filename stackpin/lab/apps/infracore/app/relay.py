"""Pass one request on and its answer back, piece by piece as it comes."""

import contextlib
import http.client
from collections.abc import Iterator, Mapping
from email.utils import formatdate

from ...serving.http import HttpError, Request, Response

__all__ = ["relay"]

TIMEOUT = 60.0
PIECE = 64 * 1024
HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-connection", "te", "trailer"),
        *("transfer-encoding", "upgrade", "content-length", "date", "expect"),
    }
)
"""Headers that belong to one connection; lengths and dates are written anew."""


def relay(request: Request, port: int) -> Response:
    """Ask 127.0.0.1:`port`; HttpError 502 when nobody answers there.

    Each request has a connection of its own. One kept from before may be closed by the other side
    at the moment it is used again, and only some requests may then be repeated.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.putrequest(
            request.method, request.target, skip_host=True, skip_accept_encoding=True
        )
        for name, value in _forwarded(request).items():
            connection.putheader(name, value)
        connection.putheader("Connection", "close")
        if request.body or request.method in {"POST", "PUT", "PATCH"}:
            connection.putheader("Content-Length", str(len(request.body)))
        connection.endheaders(request.body or None)
        answer = connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        raise HttpError(502, "Bad gateway") from error
    if answer.headers["content-length"] is None and request.version == "HTTP/1.0":
        request.keep_alive = False  # an old client sees the end by the end of the connection
    return _Relayed(request, connection, answer)


def _forwarded(request: Request) -> Mapping[str, str]:
    kept = {name: value for name, value in request.headers.items() if name not in HOP}
    kept.setdefault("x-forwarded-proto", "http")
    kept.setdefault("x-forwarded-host", request.headers.get("host", ""))
    return kept


def _body(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    left = answer.length
    try:
        while piece := answer.read1(PIECE):
            left = None if left is None else left - len(piece)
            yield piece
    except http.client.HTTPException as error:
        raise ConnectionAbortedError("the answer cannot be read to its end") from error
    if left:
        raise ConnectionAbortedError("the answer ended too early")


class _Relayed(Response):
    """An answer that is still arriving."""

    def __init__(
        self,
        request: Request,
        connection: http.client.HTTPConnection,
        answer: http.client.HTTPResponse,
    ) -> None:
        super().__init__(answer.status)
        self._request = request
        self._connection = connection
        self._answer = answer

    def pieces(self, *, head_only: bool, close: bool) -> Iterator[bytes]:
        """Give the head, then the body as it comes; OSError when it ends too early."""
        with contextlib.closing(self._connection), self._answer as answer:
            bare = head_only or answer.status in (204, 304)
            length = answer.headers["content-length"]
            chunked = length is None and not bare and self._request.version == "HTTP/1.1"
            yield self._head(length, chunked=chunked, close=close)
            for piece in () if bare else _body(answer):
                yield b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece
            if chunked:
                yield b"0\r\n\r\n"

    def _head(self, length: str | None, *, chunked: bool, close: bool) -> bytes:
        answer = self._answer
        lines = [f"HTTP/1.1 {answer.status} {answer.reason}", f"Date: {formatdate(usegmt=True)}"]
        # The server's own headers first, where the answer does not have them itself.
        there = {name.lower() for name in answer.headers}
        own = {name: text for name, text in self.headers.items() if name.lower() not in there}
        passed = [(n, text) for n, text in answer.getheaders() if n.lower() not in HOP]
        lines += [f"{name}: {text}" for name, text in (*own.items(), *passed)]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        if chunked:
            lines.append("Transfer-Encoding: chunked")
        lines.append(f"Connection: {'close' if close else 'keep-alive'}")
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
