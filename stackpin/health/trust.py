"""Which certificate a public check trusts."""

from __future__ import annotations

import hashlib
import socket
import ssl
from pathlib import Path

import gevent
import paramiko

from stackpin.errors import Refused, StackpinError

__all__ = ["Trust", "choose", "served_certificate"]

HANDSHAKE_SECONDS = 15.0


class Trust:
    """How to judge the peer: a CA bundle (`verify`), or one exact certificate (`fingerprint`).

    `verify` is True for the system's authorities or a path; `fingerprint` is a SHA-256 in hex.
    """

    def __init__(self, verify: bool | str = True, fingerprint: str | None = None) -> None:
        self.verify = verify
        self.fingerprint = fingerprint


def choose(mode: str, transport: paramiko.Transport, name: str, port: int) -> Trust:
    """Return the Trust for crm_public_ca: "host", "system" or a file of certificates.

    "host" asks the host itself, through its SSH connection, which certificate it serves for
    `name` on `port`, and trusts exactly that one: right for self-signed certificates.
    """
    if mode == "system":
        return Trust()
    if mode != "host":
        path = Path(mode)
        if not path.is_file():
            raise Refused(f"crm_public_ca: found no file {path}, expected certificates in PEM")
        return Trust(str(path))
    return Trust(True, hashlib.sha256(served_certificate(transport, name, port)).hexdigest())


def served_certificate(transport: paramiko.Transport, name: str, port: int) -> bytes:
    """Return the certificate (DER) that the host's own `port` serves for `name`."""
    expired = gevent.Timeout(HANDSHAKE_SECONDS)
    try:
        with expired:
            channel = transport.open_channel(
                "direct-tcpip", ("127.0.0.1", port), ("127.0.0.1", 0), timeout=HANDSHAKE_SECONDS
            )
            try:
                return _handshake(channel, name)
            finally:
                channel.close()
    except gevent.Timeout as passed:
        if passed is not expired:
            raise
        raise StackpinError(f"port {port} on the host: no TLS handshake in time") from None
    except (paramiko.SSHException, OSError, ssl.SSLError, EOFError) as error:
        raise StackpinError(f"port {port} on the host: no TLS there ({error})") from error


def _handshake(channel: paramiko.Channel, name: str) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    # The SSH connection vouches for the host; this asks only what it serves.
    context.verify_mode = ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=None if _is_ip(name) else name)
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            channel.sendall(outgoing.read())
            block = channel.recv(65536)
            if not block:
                raise EOFError("connection closed") from None
            incoming.write(block)
    certificate = tls.getpeercert(binary_form=True)
    if not certificate:
        raise EOFError("no certificate")
    return certificate


def _is_ip(name: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, name)
        except OSError:
            continue
        return True
    return False
