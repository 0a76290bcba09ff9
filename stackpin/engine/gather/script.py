"""The shell script that runs many commands, and its answer taken apart again.

One login shell reads the script from standard input. Commands with the same rights share one
`sudo`. Each runs as it would alone: in a shell of its own, without input, its two outputs apart.
The answer says how long each output is before it brings them, so that none can pass for another.
"""

from __future__ import annotations

import os
import shlex
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from stackpin.engine.gather.jobs import Job, arguments

__all__ = ["COMMAND", "Output", "Question", "Script", "lines", "write"]

# gzip both ways: a script of thirty kilobytes would cost two more round trips than one of three.
COMMAND = "gzip -dc | sh | gzip -1c"
SECONDS = 30  # that a lane may take; commands it did not get to end are left to run alone
AT_ONCE = 4


@dataclass(frozen=True)
class Output:
    """What a command brought: `status`, and the lines of its standard output and error."""

    status: int
    stdout: tuple[str, ...]
    stderr: tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """A command of ours for the batch: shell `text`, its standard input, and its rights."""

    text: str
    stdin: str
    rights: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Script:
    """The script as sent (compressed), and what is needed to read its answer."""

    body: bytes
    marker: str
    groups: int

    def outputs(self, answer: bytes) -> dict[int, Output]:
        """Return the outputs by the number of their command; what is damaged or late is absent.

        An output that is not UTF-8 is absent too: alone, it is for pyinfra to judge.
        """
        try:
            data = zlib.decompress(answer, wbits=31) if answer else b""
        except zlib.error:
            return {}
        found: dict[int, Output] = {}
        for number in range(self.groups):
            begin = data.find(_heading(self.marker, number).encode())
            if begin < 0:
                continue
            data = data[begin:]
            found.update(_group(data))
        return found


def write(jobs: Sequence[Job | Question], prefix: Callable[[dict[str, Any]], str]) -> Script:
    """Write the script for `jobs`, numbered in their order.

    `prefix` renders the command that reads a script from standard input with the given rights.
    """
    marker = f"stackpin-{os.urandom(8).hex()}"
    by_rights: dict[tuple[Any, ...], list[int]] = {}
    for number, one in enumerate(jobs):
        by_rights.setdefault(one.rights, []).append(number)
    text = []
    for index, (rights, numbers) in enumerate(by_rights.items()):
        given = arguments(rights)
        shell = given.pop("_shell_executable", None) or "sh"
        end = f"{marker}.{index}"
        text += [
            f"{prefix(given)} <<'{end}'",
            *_commands(marker, index, shell, [(number, jobs[number]) for number in numbers]),
            end,
        ]
    body = zlib.compress(("\n".join(text) + "\n").encode(), level=6, wbits=31)
    return Script(body, marker, len(by_rights))


def _commands(
    marker: str, index: int, shell: str, jobs: Sequence[tuple[int, Job | Question]]
) -> list[str]:
    lines = [
        'd=$(mktemp -d "${TMPDIR:-/tmp}/stackpin-XXXXXXXX") || exit',
        "trap 'rm -rf \"$d\"' EXIT",
        f't=; command -v timeout >/dev/null 2>&1 && t="timeout -s KILL {SECONDS}"',
    ]
    # Questions take longest, each has a lane of its own; commands share theirs, in turn.
    questions = [[one] for one in jobs if isinstance(one[1], Question)]
    commands = [one for one in jobs if isinstance(one[1], Job)]
    lanes = [*questions, *(commands[start::AT_ONCE] for start in range(AT_ONCE))]
    for lane in filter(None, lanes):
        end = f"{marker}.{index}.lane"
        lines += [
            f"$t sh -s \"$d\" <<'{end}' &",
            # The status comes last: what has one is complete.
            f'r() {{ {shlex.quote(shell)} -c "$3" >"$1/$2.o" 2>"$1/$2.e"; echo "$?" >"$1/$2.r"; }}',
        ]
        for number, one in lane:
            call = f'r "$1" {number} {shlex.quote(one.text)}'
            if isinstance(one, Question):
                # Not in a file nor in an argument list: a question may carry a secret.
                last = f"{marker}.{index}.{number}"
                lines += [f"{call} <<'{last}'", one.stdin, last]
            else:
                lines.append(f"{call} </dev/null")
        lines.append(end)
    heading = _heading(marker, index).strip()
    return [
        *lines,
        "wait",
        f'cd "$d" && set -- *.r *.o *.e && echo {shlex.quote(heading)} && echo $#'
        ' && stat -c "%n %s" -- "$@" && cat -- "$@"',
    ]


def _heading(marker: str, index: int) -> str:
    return f"{marker}.{index} outputs\n"


def _group(data: bytes) -> dict[int, Output]:
    """Read the outputs after their heading; empty when a length is wrong."""
    pieces: dict[tuple[int, str], bytes] = {}
    try:
        _, count, rest = data.split(b"\n", 2)
        *head, rest = rest.split(b"\n", int(count))
        for line in head:
            name, size = line.decode().split(" ")
            number, kind = name.split(".")
            piece, rest = rest[: int(size)], rest[int(size) :]
            if len(piece) != int(size):
                return {}
            pieces[int(number), kind] = piece
    except ValueError:
        return {}
    found = {}
    for job in {job for job, _kind in pieces}:
        try:
            status = int(pieces[job, "r"])
            out, err = (lines(pieces[job, kind]) for kind in "oe")
        except (KeyError, ValueError):  # UnicodeDecodeError is a ValueError
            continue
        found[job] = Output(status, out, err)
    return found


def lines(data: bytes) -> tuple[str, ...]:
    """Split as pyinfra's reader does: at newlines only, the last one ending the last line."""
    found = data.decode().split("\n")
    return tuple(found[:-1] if found[-1] == "" else found)
