"""One HTTP connection that hides nothing: whatever goes wrong on it is a failure with a kind."""

import asyncio
import ssl
from dataclasses import dataclass

from stackpin.lab.load.plan import Plan, check_target

MOST_BODY = 8 * 1024 * 1024


class RequestError(Exception):
    """One request failed; `kind` is what failures are counted by."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


@dataclass(frozen=True)
class Answer:
    """One complete answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def closes(self) -> bool:
        """Whether the connection may go now, as the server said."""
        return "close" in self.headers.get("connection", "").lower()


class Connection:
    """One connection; asks one thing at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, plan: Plan, context: ssl.SSLContext | None) -> "Connection":
        """Connect, over TLS if there is a `context`."""
        host, port, _ = check_target(plan.url)
        name = (plan.server_name or host) if context else None
        try:
            streams = await asyncio.open_connection(
                host, port, ssl=context, server_hostname=name, limit=256 * 1024
            )
        except OSError as error:
            raise RequestError("connect", repr(error)) from error
        return cls(*streams)

    async def ask(self, message: bytes) -> Answer:
        """Send `message` and read the whole answer to it."""
        try:
            self._writer.write(message)
            await self._writer.drain()
            return await self._read()
        except asyncio.IncompleteReadError as error:
            what = "in the middle of an answer" if error.partial else "before an answer"
            raise RequestError("eof", f"closed {what}") from error
        except (OSError, ValueError, asyncio.LimitOverrunError) as error:
            kind = "reset" if isinstance(error, OSError) else "protocol"
            raise RequestError(kind, repr(error)) from error

    async def _read(self) -> Answer:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head[:-4].split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        # Both ends are ours, and both say how long an answer is. Anything else is a fault.
        length = int(headers["content-length"]) if "content-length" in headers else -1
        if not first.startswith("HTTP/1.1 ") or not 0 <= length <= MOST_BODY:
            raise RequestError("protocol", f"{first[:80]!r} without a usable Content-Length")
        return Answer(int(first.split(" ")[1]), headers, await self._reader.readexactly(length))

    def close(self) -> None:
        """Drop the connection."""
        self._writer.close()
