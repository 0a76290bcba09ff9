"""One command over one SSH channel: its input written while its outputs are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

import gevent
import paramiko

__all__ = ["Ran", "converse"]

BLOCK = 65536  # bytes read or sent at once


@dataclass(frozen=True)
class Ran:
    """What a program on a host did: its exit status and all it wrote."""

    status: int
    stdout: bytes
    stderr: str


def converse(
    channel: paramiko.Channel,
    command: str,
    stdin: bytes | IO[bytes],
    on_line: Callable[[str], None] | None = None,
    on_stdout: Callable[[bytes], None] | None = None,
    *,
    rest: bytes = b"",
) -> Ran:
    """Run `command` in the open `channel` and return what it did; EOFError without a status.

    `stdin` is its input, or a file that is read as it is sent; `rest` follows it. `on_line` gets
    each line of stderr as it comes, `on_stdout` each block of stdout (which then is not collected).
    """
    channel.exec_command(command)
    writer = gevent.spawn(_write, channel, stdin, rest)
    reader = gevent.spawn(_read_lines, channel, on_line)
    try:
        stdout = bytearray()
        while block := channel.recv(BLOCK):
            if on_stdout:
                on_stdout(block)
            else:
                stdout += block
        status = channel.recv_exit_status()
        if status == -1:
            # No status arrived: the connection ended under the program.
            raise EOFError("closed before the program ended")
        reader.join()
        return Ran(status, bytes(stdout), reader.value or "")
    finally:
        gevent.killall([writer, reader], block=False)


def _write(channel: paramiko.Channel, data: bytes | IO[bytes], rest: bytes) -> None:
    try:
        if isinstance(data, bytes):
            channel.sendall(data)
        else:
            while block := data.read(BLOCK):
                channel.sendall(block)
        channel.sendall(rest)
        channel.shutdown_write()
    except OSError:
        # The program ended without reading its input; its status says why.
        return


def _read_lines(channel: paramiko.Channel, on_line: Callable[[str], None] | None) -> str:
    text, rest = "", ""
    while block := channel.recv_stderr(BLOCK):
        piece = block.decode("utf-8", "replace")
        text += piece
        if on_line:
            *lines, rest = (rest + piece).split("\n")
            for line in lines:
                on_line(line)
    return text
