"""Run programs by name: argument lists in, text out, one readable error when they fail."""

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from stackpin.errors import StackpinError

__all__ = ["Report", "run", "stream"]

Report = Callable[[str], None]
"""Receives one line about what is being done now, for a progress display."""


def run(
    *argv: str, check: bool = True, timeout: float = 60, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return its output; `timeout` in seconds.

    Raises StackpinError when it cannot be started, takes too long or, with `check`, fails.
    """
    try:
        done = subprocess.run(
            argv,
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
            input="" if stdin is None else stdin,
        )
    except FileNotFoundError as error:
        raise StackpinError(f"{argv[0]}: no such program on this machine") from error
    except subprocess.TimeoutExpired as error:
        raise StackpinError(f"{' '.join(argv)}: no end after {timeout:g} s") from error
    if check and done.returncode != 0:
        raise StackpinError(failure(argv, done.returncode, done.stderr or done.stdout))
    return done


def stream(
    argv: Sequence[str], log: Path, on_line: Report, env: Mapping[str, str] | None = None
) -> None:
    """Run a long program, append its output to `log` and hand each line to `on_line`.

    The program has its own session, so that Ctrl-C ends it here and in this order, not by chance.
    Raises StackpinError with the last lines when it fails.
    """
    lines: list[str] = []
    with (
        log.open("a", encoding="utf-8") as log_file,
        subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            env={**os.environ, **(env or {})},
        ) as process,
    ):
        if process.stdout is None:
            raise StackpinError(f"{argv[0]}: no output pipe")
        try:
            for line in process.stdout:
                log_file.write(line)
                lines = [*lines[-19:], line.rstrip()]
                on_line(line.rstrip())
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        tail = "\n".join(lines)
        raise StackpinError(f"{failure(argv, process.returncode, tail)}\nAll output: {log}")


def failure(argv: Sequence[str], code: int, output: str) -> str:
    """Say in one or a few lines which program failed, how, and the last it said."""
    tail = "\n".join(output.strip().splitlines()[-12:])
    return f"{' '.join(argv)} failed with exit code {code}: {tail or 'no output'}"
