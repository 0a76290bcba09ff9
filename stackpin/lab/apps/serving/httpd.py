"""A small threaded HTTP/1.1 server that stops without hurting anybody.

On stop it first takes in every connection the kernel has already completed, because closing the
listening socket would reset those; then it answers what is under way, lets idle connections go
and returns.
"""

import contextlib
import errno
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import BinaryIO

from .http import MAX_LINE, HttpError, Request, Response, body_length, read_head

BACKLOG = 1024
MAX_CONNECTIONS = 512
IDLE_SECONDS = 75.0
IO_SECONDS = 20.0


def listen(host: str, port: int) -> socket.socket:
    """Return a listening TCP socket; an empty host means every address, of both families."""
    if not host and socket.has_dualstack_ipv6():
        try:
            return socket.create_server(
                ("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
            )
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                raise
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


class Server:
    """Serves `app` on a listening socket, with a thread for each connection.

    `headers` go with every response, also with those to requests nobody could understand.
    """

    def __init__(
        self,
        listener: socket.socket,
        app: Callable[[Request], Response],
        headers: Mapping[str, str],
    ) -> None:
        self._headers = headers
        self._listener = listener
        self._listener.setblocking(False)
        self._app = app
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._acceptor = threading.Thread(target=self._accept_all, name="accept", daemon=True)
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._state = threading.Condition()
        self._open = 0
        self._idle: set[socket.socket] = set()
        self._stopping = False

    @property
    def open_connections(self) -> int:
        """How many clients are connected now."""
        return self._open

    def start(self) -> None:
        """Begin to accept connections."""
        self._acceptor.start()

    def stop(self, seconds: float) -> bool:
        """Stop accepting, finish what is under way; False if the time was not enough."""
        deadline = time.monotonic() + seconds
        with self._state:
            self._stopping = True
        self._wake_writer.send(b"x")
        self._acceptor.join(seconds)
        with self._state:
            for sock in self._idle:
                _end_of_input(sock)
            return self._state.wait_for(
                lambda: self._open == 0, timeout=max(0.0, deadline - time.monotonic())
            )

    def _accept_all(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._wake_reader, selectors.EVENT_READ)
            while not self._stopping:
                selector.select()
                self._accept_waiting()
        self._accept_waiting()  # whoever connected since the last look is served, too
        self._listener.close()

    def _accept_waiting(self) -> None:
        while self._slots.acquire(timeout=1.0):
            try:
                sock, _ = self._listener.accept()
            except OSError as error:
                self._slots.release()
                if not isinstance(error, BlockingIOError):
                    time.sleep(0.05)  # out of file descriptors: let some connections end
                return
            with self._state:
                self._open += 1
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system gives no more threads
                self._forget(sock)

    def _serve(self, sock: socket.socket) -> None:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with sock.makefile("rb") as reader:
                while True:
                    self._become_idle(sock)
                    sock.settimeout(IDLE_SECONDS)
                    line = reader.readline(MAX_LINE)
                    self._become_busy(sock)
                    if not line:
                        return
                    if line in (b"\r\n", b"\n"):
                        continue
                    sock.settimeout(IO_SECONDS)
                    if not self._answer(sock, reader, line):
                        return
        except OSError:
            pass  # the client went away or fell silent: nothing is owed to it
        finally:
            self._forget(sock)

    def _answer(self, sock: socket.socket, reader: BinaryIO, line: bytes) -> bool:
        """Answer one request; True if another one may follow on this connection."""
        request: Request | None = None
        try:
            request = read_head(line, reader)
            length = body_length(request)
            if length and request.headers.get("expect", "").lower() == "100-continue":
                sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.body = reader.read(length)
            if len(request.body) < length:
                return False
        except HttpError as error:
            # What follows on the connection cannot be told apart any more, so it ends here.
            response, keep = Response.of_error(error), False
        else:
            response, keep = self._app(request), request.keep_alive
        keep = keep and not self._stopping
        response.headers = {**self._headers, **response.headers}
        head_only = request is not None and request.method == "HEAD"
        for piece in response.pieces(head_only=head_only, close=not keep):
            sock.sendall(piece)
        if not keep:
            _linger(sock)
        return keep

    def _become_idle(self, sock: socket.socket) -> None:
        with self._state:
            self._idle.add(sock)
            if self._stopping:
                _end_of_input(sock)

    def _become_busy(self, sock: socket.socket) -> None:
        with self._state:
            self._idle.discard(sock)

    def _forget(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            sock.close()
        self._slots.release()
        with self._state:
            self._idle.discard(sock)
            self._open -= 1
            self._state.notify_all()


def _end_of_input(sock: socket.socket) -> None:
    """Let the reader see an end after what has already arrived; a request in it is answered."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RD)


def _linger(sock: socket.socket) -> None:
    """Say goodbye and read on for a moment: a close over unread bytes would reset the answer."""
    sock.shutdown(socket.SHUT_WR)
    sock.settimeout(1.0)
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline and sock.recv(65536):
        pass
