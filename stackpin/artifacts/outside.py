"""A build host: the tree goes there over ssh, is built, its outputs come back, nothing stays."""

from __future__ import annotations

import contextlib
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stackpin.artifacts.outputs import chosen, require_file
from stackpin.artifacts.unpacking import unpack_stream
from stackpin.errors import Refused

__all__ = ["BuildHost", "build_host"]

SECONDS = 600.0  # sending the tree, and fetching the outputs
_SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=15")
# Runs a command without input, and ends it with all its children when the connection ends: our
# side keeps the pipe of `cat` open for as long as the command is wanted. ssh runs what it is given
# in the user's login shell, hence one word of sh. The directory goes with a lost connection.
_WATCHED = """
exec 3<&0
setsid sh -ec "$1" </dev/null &
child=$!
(cat <&3 >/dev/null; kill -KILL -"$child"; cd /; rm -rf -- "$2") >/dev/null 2>&1 &
watch=$!
wait "$child"
code=$?
kill "$watch" 2>/dev/null
exit "$code"
"""


@contextmanager
def build_host(name: str, source: Path) -> Iterator[BuildHost]:
    """Send the tree `source` to a new directory of the host `name`, gone when the block is left.

    Raises Refused when the host cannot be reached.
    """
    made = _ssh(name, 'umask 077; mktemp -d "${TMPDIR:-/tmp}/stackpin-build-XXXXXXXX"')
    folder = made.decode().strip()
    if not re.fullmatch(r"/[A-Za-z0-9._/-]+/stackpin-build-[A-Za-z0-9]{8}", folder):
        raise Refused(f"{name}: found {folder!r} from mktemp -d, expected a directory's path.")
    try:
        _ssh(name, f"mkdir {folder}/source {folder}/home {folder}/temporary")
        _send(name, source, f"{folder}/source")
        yield BuildHost(name, folder)
    finally:
        with contextlib.suppress(Refused):  # what happened before is worth more
            _ssh(name, f"chmod -R u+w {folder}; rm -rf {folder}")


class BuildHost:
    """A directory of a build host with the tree in it."""

    def __init__(self, name: str, folder: str) -> None:
        self._name, self._folder = name, folder
        self.home, self.tmp = f"{folder}/home", f"{folder}/temporary"

    def put_home(self, name: str, text: str) -> None:
        """Write a file into the HOME of the build."""
        _ssh(self._name, f"cat > {self.home}/{name}", data=text.encode())

    def start(self, command: str, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a command there; it ends with this side of the connection."""
        pairs = " ".join(shlex.quote(f"{name}={value}") for name, value in env.items())
        inner = f'cd {self._folder}/source && exec env -i PATH="$PATH" {pairs} sh -ec "$0"'
        # Two shells in turn read it: the outer one changes place and environment.
        wrapped = f"sh -c {shlex.quote(inner)} {shlex.quote(command)}"
        script = f"sh -c {shlex.quote(_WATCHED)} sh {shlex.quote(wrapped)} {self._folder}"
        return subprocess.Popen(
            [*_SSH, "--", self._name, script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def fetch(self, patterns: Sequence[str], into: Path, what: str) -> None:
        """Fetch the outputs; what comes is unpacked as any archive that is not to be trusted."""
        source = f"{self._folder}/source"
        find = f"cd {source} && find . -path ./.git -prune -o ! -type d -printf '%y%P\\0'"
        entries = _ssh(self._name, find).decode("utf-8", "replace").split("\0")
        files = {entry[1:]: entry[0] != "f" for entry in entries if entry}
        names = chosen(patterns, files, what)
        for name in names:
            require_file(name, files[name], what)
        data = "".join(f"./{name}\0" for name in names).encode()
        argv = [*_SSH, "--", self._name, f"tar -C {source} --null --no-recursion -T - -cf -"]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None  # noqa: S101 - opened as pipes
            assert process.stdout is not None  # noqa: S101
            process.stdin.write(data)
            process.stdin.close()
            unpack_stream(process.stdout, into, what)
            process.stdout.read()
            if process.wait(SECONDS) != 0:
                raise Refused(f"{what}: the outputs could not be fetched from {self._name}.")


def _send(name: str, source: Path, folder: str) -> None:
    with subprocess.Popen(
        ["tar", "-C", str(source), "-cf", "-", "."], stdout=subprocess.PIPE
    ) as tar:
        assert tar.stdout is not None  # noqa: S101 - opened as a pipe
        _ssh(name, f"tar -C {folder} -xf -", stream=tar.stdout.fileno())
    if tar.returncode != 0:
        raise Refused(f"{name}: the tree could not be sent: tar ended with {tar.returncode}.")


def _ssh(name: str, command: str, *, data: bytes = b"", stream: int | None = None) -> bytes:
    """Run a command of ours on the build host and return what it printed."""
    given: dict[str, Any] = {"input": data} if stream is None else {"stdin": stream}
    argv = [*_SSH, "--", name, command]
    try:
        done = subprocess.run(argv, capture_output=True, timeout=SECONDS, check=False, **given)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Refused(f"build host {name}: {error}. Try: ssh {name} true") from None
    if done.returncode != 0:
        said = " ".join(done.stderr.decode("utf-8", "replace").split())[-300:]
        raise Refused(
            f"build host {name}: found exit {done.returncode} ({said or 'no message'}), expected "
            f"a login with a key. Try: ssh -o BatchMode=yes {name} true"
        )
    return bytes(done.stdout)
