"""Carry local connections to a port on a host through an SSH connection that is open already."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

import paramiko

from stackpin.errors import Refused, StackpinError

__all__ = ["Tunnel"]

BLOCK = 65536


class Tunnel:
    """A listener on 127.0.0.1 whose connections come out on the host's loopback.

    `transport` returns the live SSH transport, `target` the host's port to reach now; it is asked
    for again when a connection is refused there, as a deploy moves the live slot to another port.
    `on_problem` gets a sentence about each connection that could not be carried.
    """

    def __init__(
        self,
        transport: Callable[[], paramiko.Transport],
        target: Callable[[], int],
        on_problem: Callable[[str], None],
    ) -> None:
        self._transport = transport
        self._target = target
        self._on_problem = on_problem
        self._port: int | None = None
        self._listener: socket.socket | None = None

    def listen(self, local_port: int = 0) -> int:
        """Bind 127.0.0.1:`local_port` (0 = any free one) and return the port; refuse if taken."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", local_port))
        except OSError as error:
            listener.close()
            raise Refused(
                f"127.0.0.1:{local_port}: cannot listen here ({error.strerror}); "
                "choose another --local-port, or leave it out for any free one"
            ) from error
        listener.listen(64)
        # Woken regularly, so that a lost SSH connection ends the tunnel and is said.
        listener.settimeout(1.0)
        self._listener = listener
        return int(listener.getsockname()[1])

    def serve(self) -> None:
        """Carry connections until interrupted; raise StackpinError when SSH is lost."""
        if self._listener is None:
            raise RuntimeError("listen() comes first")
        while True:
            if not self._transport().is_active():
                raise StackpinError("the SSH connection is gone; open the tunnel again")
            try:
                client, _address = self._listener.accept()
            except TimeoutError:
                continue
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def close(self) -> None:
        """Stop listening; connections end with the SSH connection."""
        if self._listener is not None:
            self._listener.close()

    def _carry(self, client: socket.socket) -> None:
        with client:
            try:
                channel = self._open(client.getpeername())
            except (paramiko.SSHException, OSError, EOFError, StackpinError) as error:
                self._on_problem(f"connection not carried: {error}")
                return
            with contextlib.closing(channel):
                back = threading.Thread(target=_copy, args=(channel, client), daemon=True)
                back.start()
                _copy(client, channel)
                back.join()

    def _open(self, origin: Any) -> paramiko.Channel:  # noqa: ANN401 -- a socket address
        for _attempt in range(2):
            if self._port is None:
                self._port = self._target()
            try:
                return self._transport().open_channel(
                    "direct-tcpip", ("127.0.0.1", self._port), origin, timeout=20
                )
            except paramiko.ChannelException:
                refused, self._port = self._port, None
        raise StackpinError(f"nothing answers on the host's 127.0.0.1:{refused}")


def _copy(source: Any, sink: Any) -> None:  # noqa: ANN401 -- socket or channel: recv and sendall
    """Copy until the end of `source`, then end only that direction of `sink`."""
    try:
        while block := source.recv(BLOCK):
            sink.sendall(block)
    except OSError:
        pass  # the other side is gone: ending this direction says so
    with contextlib.suppress(OSError, EOFError):
        sink.shutdown(socket.SHUT_WR)
