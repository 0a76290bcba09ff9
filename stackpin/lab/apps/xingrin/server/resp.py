"""A Redis client: one connection, the few commands we need, reconnecting once."""

import socket
import threading
from typing import Any

__all__ = ["Redis", "RedisError"]

TIMEOUT = 5.0

Reply = Any
"""None, int, str, or a list of these."""


class RedisError(Exception):
    """Redis cannot be reached, or answered with an error."""


class Redis:
    """Speaks RESP2. Safe to use from several threads."""

    def __init__(self, host: str, port: int, database: int = 0) -> None:
        self._address = (host, port)
        self._database = database
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._buffer = b""

    def run(self, *commands: tuple[object, ...]) -> list[Reply]:
        """Send `commands` in one go and return their replies; RedisError when one fails."""
        with self._lock:
            try:
                return self._exchange(commands)
            except OSError:
                # A restarted Redis has forgotten us: once more on a new connection.
                self._close()
            try:
                return self._exchange(commands)
            except OSError as error:
                self._close()
                host, port = self._address
                raise RedisError(f"Redis at {host}:{port}: {error}") from error

    def _exchange(self, commands: tuple[tuple[object, ...], ...]) -> list[Reply]:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, TIMEOUT)
            self._buffer = b""
            if self._database:
                self._exchange((("SELECT", self._database),))
        self._socket.sendall(b"".join(encode(command) for command in commands))
        replies = [self._reply() for _command in commands]
        for reply in replies:
            if isinstance(reply, RedisError):
                raise reply
        return replies

    def _reply(self) -> Reply:
        kind, rest = (line := self._line())[:1], line[1:].decode()
        if kind == b"+":
            return rest
        if kind == b"-":
            return RedisError(rest)
        if kind == b":":
            return int(rest)
        length = int(rest)
        if length < 0:
            return None
        if kind == b"$":
            return self._take(length + 2)[:-2].decode()
        if kind == b"*":
            return [self._reply() for _ in range(length)]
        raise OSError(f"not a Redis reply: {line!r}")

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            self._receive()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._receive()
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def _receive(self) -> None:
        data = self._socket.recv(65536) if self._socket else b""
        if not data:
            raise OSError("connection closed")
        self._buffer += data

    def _close(self) -> None:
        if self._socket:
            self._socket.close()
        self._socket = None


def encode(command: tuple[object, ...]) -> bytes:
    """Write one command as Redis reads it."""
    words = [str(word).encode() for word in command]
    parts = [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
    return b"*%d\r\n%s" % (len(words), b"".join(parts))
