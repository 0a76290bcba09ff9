"""Log in to a PostgreSQL server with nothing but a socket: before any image or program is here.

Speaks as much of protocol 3.0 as a login needs: clear text, MD5 and SCRAM-SHA-256, without TLS, as
the application itself connects.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import socket
import struct

__all__ = ["login"]

PROTOCOL = 196608  # 3.0
LIMIT = 65536  # bytes of one message; a login's are some hundred
_OK, _CLEAR, _MD5, _SASL, _SASL_GO_ON, _SASL_FINAL = 0, 3, 5, 10, 11, 12


class _WrongError(Exception):
    """The server said no, or something no PostgreSQL says."""


def login(  # noqa: PLR0917 (what a login is made of)
    host: str, port: int, name: str, user: str, password: str, timeout: float = 8.0
) -> str | None:
    """Log in to database `name`; return what is wrong, None when the server let us in.

    timeout: seconds for each answer. The text never holds the password.
    """
    try:
        with socket.create_connection((host, port), timeout) as link:
            _start(link, name, user, password)
    except _WrongError as problem:
        return str(problem)
    except (OSError, struct.error, ValueError, KeyError) as problem:
        return f"no PostgreSQL answers at {host}:{port}: {problem}"
    return None


def _start(link: socket.socket, name: str, user: str, password: str) -> None:
    words = b"".join(f"{part}\0".encode() for part in ("user", user, "database", name))
    body = struct.pack("!i", PROTOCOL) + words + b"\0"
    link.sendall(struct.pack("!i", len(body) + 4) + body)
    scram: _Scram | None = None
    while True:
        kind, data = _message(link)
        if kind == b"Z":  # ready for a query: the database exists and may be used
            link.sendall(b"X" + struct.pack("!i", 4))
            return
        if kind != b"R":
            continue
        method = struct.unpack("!i", data[:4])[0]
        if method == _CLEAR:
            _send(link, password.encode() + b"\0")
        elif method == _MD5:
            inner = hashlib.md5((password + user).encode()).hexdigest()  # noqa: S324 (protocol)
            outer = hashlib.md5(inner.encode() + data[4:8]).hexdigest()  # noqa: S324
            _send(link, b"md5" + outer.encode() + b"\0")
        elif method == _SASL:
            if b"SCRAM-SHA-256" not in data[4:].split(b"\0"):
                raise _WrongError(f"a login of another kind is wanted: {data[4:60]!r}")
            scram = _Scram(password)
            first = scram.first()
            _send(link, b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first)
        elif method == _SASL_GO_ON and scram is not None:
            _send(link, scram.proof(data[4:]))
        elif method not in {_OK, _SASL_FINAL}:
            raise _WrongError(f"a login of kind {method} is wanted; expected a password")


def _message(link: socket.socket) -> tuple[bytes, bytes]:
    kind, length = struct.unpack("!ci", _exactly(link, 5))
    if not 4 <= length <= LIMIT:
        raise ValueError("an answer that is none of its protocol")
    data = _exactly(link, length - 4)
    if kind == b"E":
        fields = {part[:1]: part[1:].decode("utf-8", "replace") for part in data.split(b"\0")}
        raise _WrongError(fields.get(b"M") or "refused without a reason")
    return kind, data


def _exactly(link: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = link.recv(size - len(data))
        if not more:
            raise ValueError("the connection was closed")
        data += more
    return data


def _send(link: socket.socket, body: bytes) -> None:
    link.sendall(b"p" + struct.pack("!i", len(body) + 4) + body)


class _Scram:
    """The client's side of SCRAM-SHA-256 (RFC 5802, 7677), without channel binding."""

    def __init__(self, password: str) -> None:
        self._password = password.encode()
        self._bare = f"n=,r={secrets.token_urlsafe(18)}"

    def first(self) -> bytes:
        return f"n,,{self._bare}".encode()

    def proof(self, challenge: bytes) -> bytes:
        server = challenge.decode("ascii")
        values = dict(part.split("=", 1) for part in server.split(","))
        salt, rounds = base64.b64decode(values["s"]), int(values["i"])
        salted = hashlib.pbkdf2_hmac("sha256", self._password, salt, rounds)
        final = f"c=biws,r={values['r']}"
        said = f"{self._bare},{server},{final}".encode()
        client = _sign(salted, b"Client Key")
        signature = _sign(hashlib.sha256(client).digest(), said)
        proof = bytes(a ^ b for a, b in zip(client, signature, strict=True))
        return f"{final},p={base64.b64encode(proof).decode()}".encode()


def _sign(key: bytes, text: bytes) -> bytes:
    return hmac.new(key, text, hashlib.sha256).digest()
