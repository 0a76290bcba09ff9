"""Programs whose input or output is too large for memory, or that are spoken with line by line."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from stackpin.host.errors import failed
from stackpin.host.system import Result

__all__ = ["Talk", "stream", "talk"]

SHOWN = 4000  # characters kept of what a program says on standard error


def stream(
    argv: Sequence[str],
    *,
    source: Path | None = None,
    target: Path | None = None,
    timeout: float,
    env: Mapping[str, str] | None = None,
) -> Result:
    """Run a program with a file as its input and a new private file (0600) as its output.

    timeout: seconds, after which the program is killed. The answer's `out` is empty when `target`
    is given. Raises HostError(error): no such program, or no answer in time.
    """
    with contextlib.ExitStack() as stack:
        stdin = stack.enter_context(source.open("rb")) if source else subprocess.DEVNULL
        stdout: IO[bytes] | int = subprocess.PIPE
        if target is not None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            stdout = stack.enter_context(os.fdopen(os.open(target, flags, 0o600), "wb"))
        try:
            done = subprocess.run(
                list(argv),
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.PIPE,
                timeout=timeout,
                env=_environment(env),
                check=False,
            )
        except FileNotFoundError as error:
            raise failed(f"{argv[0]}: no such program on this host; install it") from error
        except subprocess.TimeoutExpired as error:
            raise failed(f"{argv[0]} {argv[1]}: no answer within {timeout:g} s") from error
    out = (done.stdout or b"").decode("utf-8", "replace")
    return Result(done.returncode, out, done.stderr.decode("utf-8", "replace")[-SHOWN:])


class Talk:
    """A running program that answers a line of input with lines of output."""

    def __init__(self, process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
        """`process` has pipes for input and output; `errors` is the file of its standard error."""
        self._stdin, self._stdout = process.stdin, process.stdout
        self._errors = errors

    def say(self, text: str) -> None:
        """Send text; a program that went away is noticed at the next `line`."""
        with contextlib.suppress(BrokenPipeError):
            if self._stdin is not None:
                self._stdin.write(text.encode())
                self._stdin.flush()

    def line(self) -> str:
        """Read one line without its end. Raises HostError(error) when the program has ended."""
        raw = self._stdout.readline() if self._stdout is not None else b""
        if not raw.endswith(b"\n"):
            raise failed(f"the conversation ended early: {self.complaint() or 'no reason given'}")
        return raw[:-1].decode("utf-8", "replace")

    def until(self, mark: str) -> list[str]:
        """Read lines up to the one that is `mark`, which is left out."""
        found = []
        while (line := self.line()) != mark:
            found.append(line)
        return found

    def complaint(self) -> str:
        """Return what it wrote on standard error: the line that names an error, else the last."""
        self._errors.seek(0)
        text = self._errors.read().decode("utf-8", "replace")[-SHOWN:]
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        telling = [line for line in lines if "ERROR" in line or "FATAL" in line]
        return (telling or lines or [""])[-1]


@contextlib.contextmanager
def talk(argv: Sequence[str], env: Mapping[str, str] | None = None) -> Iterator[Talk]:
    """Run a program for a conversation; it is ended, at the latest by killing it, afterwards."""
    # A file, not a pipe: nobody reads it meanwhile, and a full pipe would stop the program.
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environment(env),
        )
        try:
            yield Talk(process, errors)
        finally:
            with contextlib.suppress(OSError):
                if process.stdin is not None:
                    process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _environment(env: Mapping[str, str] | None) -> dict[str, str]:
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        **(env or {}),
    }
