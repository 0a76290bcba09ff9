"""Connecting to a host, and saying in one sentence why it did not work."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any

import paramiko
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.connectors.sshuserclient import client as sshuserclient

__all__ = ["ConnectProblem", "connect", "tune"]

# Seconds without an acknowledgement after which the kernel gives a connection up, and how often
# an idle one is probed: a host that vanished is noticed within their sum.
ACK_TIMEOUT = 20
KEEPALIVE = 5


@dataclass(frozen=True)
class ConnectProblem:
    """Why a host cannot be worked with.

    `kind` is unreachable, auth, host-key or setup; `message` names host, fact and remedy.
    """

    host: str
    kind: str
    message: str


def connect(host: Host) -> ConnectProblem | None:
    """Connect `host` (its own connector) and tune the connection; return the problem, if any."""
    connector = host.connector
    if not hasattr(connector, "client"):
        return ConnectProblem(host.name, "setup", f"{host.name}: only SSH hosts are supported")
    # known_hosts is memoized per process: a key accepted a moment ago must be seen.
    sshuserclient.get_host_keys.cache.clear()
    try:
        connector.connect()
    except (PyinfraError, paramiko.SSHException, OSError, EOFError) as error:
        return _classify(host, error)
    tune(connector.client)
    return None


def tune(client: paramiko.SSHClient) -> None:
    """Make the connection notice a dead peer in seconds, not in the kernel's quarter hour."""
    transport = client.get_transport()
    if transport is None:
        return
    transport.set_keepalive(KEEPALIVE)
    peer: Any = transport.sock
    try:
        milliseconds = ACK_TIMEOUT * 1000
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    except (OSError, AttributeError):
        # A ProxyCommand or ProxyJump channel has no TCP options; the calls' deadlines remain.
        return


def _classify(host: Host, error: BaseException) -> ConnectProblem:
    name = host.name
    where = f"{name} ({host.data.get('ssh_hostname') or name})"
    for cause in _chain(error):
        if isinstance(cause, paramiko.BadHostKeyException) or "StrictPolicy" in str(cause):
            known = "changed" if isinstance(cause, paramiko.BadHostKeyException) else "unknown"
            target = getattr(cause, "hostname", host.data.get("ssh_hostname") or name)
            return ConnectProblem(
                name,
                "host-key",
                f"{where}: its SSH host key is {known}; someone may stand in between. If the host "
                f"was reinstalled: compare fingerprints, then `ssh-keygen -R {target}`",
            )
        if isinstance(cause, paramiko.AuthenticationException):
            user = host.data.get("ssh_user") or "your user"
            return ConnectProblem(
                name,
                "auth",
                f"{where}: refused the SSH key of {user}; check ssh_user and ssh_key in the "
                "inventory and authorized_keys on the host",
            )
        if isinstance(cause, socket.gaierror):
            return ConnectProblem(
                name, "unreachable", f"{where}: its name does not resolve; check ssh_hostname"
            )
    for cause in _chain(error):
        if isinstance(cause, OSError | EOFError | paramiko.SSHException):
            return ConnectProblem(
                name,
                "unreachable",
                f"{where}: no SSH connection ({_text(cause)}); is it up, and port "
                f"{host.data.get('ssh_port') or 22} open from here?",
            )
    return ConnectProblem(name, "setup", f"{where}: {_text(error)}; check ssh_key in the inventory")


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
