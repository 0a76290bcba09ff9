"""Runs the commands of a build, one after another, in an environment that is only what it says."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

from stackpin.artifacts.model import Say, quiet
from stackpin.errors import Refused
from stackpin.redact import redact

__all__ = ["Builder", "Here", "environment", "run_build", "tool_versions"]

COMMAND_SECONDS = 3600.0
TAIL = 30  # lines of output a failure shows
QUIET = 10.0  # seconds after which the output's last line is told
# Tools whose versions are worth keeping, and how each tells its own.
_TELL = {name: f"{name} --version" for name in ("git", "python3", "node", "npm", "make", "cargo")}
_TELL |= {"go": "go version", "yarn": "yarn --version", "pnpm": "pnpm --version"}
_ALWAYS = ("git", "go", "node", "python3")


class Builder(Protocol):
    """Where commands run: this machine or a build host. `home` is the build's own HOME."""

    home: str
    tmp: str

    def start(self, command: str, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a shell command in the source tree; output and errors are one pipe."""

    def fetch(self, patterns: Sequence[str], into: Path, what: str) -> None:
        """Put the outputs of the build into the directory `into`. Raises Refused."""


class Here:
    """The machine this runs on."""

    def __init__(self, source: Path, work: Path) -> None:
        self._source, self.home, self.tmp = source, str(work / "home"), str(work / "tmp")
        Path(self.tmp).mkdir()

    def start(self, command: str, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start it in a session of its own, so that all it starts can be ended with it."""
        return subprocess.Popen(
            ["/bin/sh", "-ec", command],
            cwd=self._source,
            env={"PATH": os.environ.get("PATH", os.defpath), **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def fetch(self, patterns: Sequence[str], into: Path, what: str) -> None:
        """Copy the outputs."""
        from stackpin.artifacts.outputs import copy  # noqa: PLC0415

        copy(self._source, patterns, into, what)


def environment(
    builder: Builder, commit_time: int, mirrors: Mapping[str, str], declared: Mapping[str, str]
) -> dict[str, str]:
    """Return all a build sees beside PATH, which is that of the machine it runs on."""
    return {
        "HOME": builder.home,
        "TMPDIR": builder.tmp,
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "SOURCE_DATE_EPOCH": str(commit_time),
        "GIT_TERMINAL_PROMPT": "0",
        "GOFLAGS": "-trimpath",  # a path of the build would make each binary another one
        **mirrors,
        **declared,
    }


def run_build(  # noqa: PLR0917 - one after another as they are used
    builder: Builder,
    commands: Sequence[str],
    env: Mapping[str, str],
    log: Path,
    what: str,
    say: Say,
) -> None:
    """Run `commands` until one fails; everything they print goes to `log`, redacted.

    Raises Refused with the command, how it ended, and its last lines.
    """
    with log.open("w", encoding="utf-8") as file:
        log.chmod(0o600)
        for number, command in enumerate(commands, 1):
            step = f"{number}/{len(commands)}"
            say(f"{what}: {step}: {command}")
            file.write(redact(f"$ {command}\n"))
            began = time.monotonic()
            process = builder.start(command, env)
            ended, tail = _follow(process, file, say)
            if ended != "exit 0":
                shown = "\n".join(f"  {line}" for line in tail) or "  (it printed nothing)"
                raise Refused(
                    f"{what}: build command {step} `{redact(command)}`: found {ended} after "
                    f"{time.monotonic() - began:.0f} s, expected exit 0. Its last lines:\n"
                    f"{shown}\nAll of it: {log}"
                )


def tool_versions(
    builder: Builder, commands: Sequence[str], env: Mapping[str, str]
) -> dict[str, str]:
    """Return what the usual tools, and those the commands name, say of their versions."""
    words = {word for command in commands for word in command.split()}
    names = [name for name in _TELL if name in _ALWAYS or name in words]
    asks = [f"command -v {n} >/dev/null && echo {n}=$({_TELL[n]} | head -n 1)" for n in names]
    asks.append("echo arch=$(uname -sm)")
    process = builder.start("; ".join(f"{{ {ask} || true; }}" for ask in asks), env)
    _ended, lines = _follow(process, io.StringIO(), quiet)
    pairs = (line.partition("=") for line in lines)
    return {name: text.strip() for name, _, text in pairs if name in {*names, "arch"}}


def _follow(process: subprocess.Popen[bytes], log: IO[str], say: Say) -> tuple[str, list[str]]:
    """Wait for a command; return how it ended and its last lines."""
    tail: deque[str] = deque(maxlen=TAIL)

    def pump() -> None:
        assert process.stdout is not None  # noqa: S101 - it was opened as a pipe
        told = time.monotonic()
        for raw in process.stdout:
            line = redact(raw.decode("utf-8", "replace").rstrip())
            log.write(line + "\n")
            log.flush()
            tail.append(line)
            if time.monotonic() - told > QUIET:
                told = time.monotonic()
                say(f"  {line[:160]}")

    reader = threading.Thread(target=pump, daemon=True)
    ended = f"no end within {COMMAND_SECONDS:.0f} s"
    with _ended_with(process), contextlib.suppress(subprocess.TimeoutExpired):
        reader.start()
        code = process.wait(COMMAND_SECONDS)
        ended = f"exit {code}" if code >= 0 else f"signal {-code}"
    reader.join(10)  # whatever held the pipe open is gone
    return ended, list(tail)


@contextlib.contextmanager
def _ended_with(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End a command with everything it left running, however the block is left."""
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin:  # held open as long as a build host is to go on
            process.stdin.close()
