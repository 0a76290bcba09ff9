"""The only place of the host program that runs other programs."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from stackpin.host.errors import failed

__all__ = ["Result", "run"]

_PDEATHSIG = 1  # prctl: the signal a process gets when its parent dies


class Result(NamedTuple):
    """What a program answered."""

    code: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        """True when the exit status was 0."""
        return self.code == 0

    def last_line(self) -> str:
        """Return the last non-empty line it wrote: the best short reason there is."""
        lines = [line for line in (self.out + "\n" + self.err).splitlines() if line.strip()]
        return lines[-1].strip() if lines else f"exit status {self.code}"


def run(
    argv: Sequence[str],
    input: str | bytes | None = None,  # noqa: A002 (the name subprocess taught everybody)
    timeout: float = 60.0,
    *,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    user: str | None = None,
    bound: bool = False,
) -> Result:
    """Run a program by name (never through a shell) and return its answer as text.

    timeout: seconds, after which the program is killed. env: added to a small fixed environment
    (never argv: a process list is public). user: run as this user and its primary group only.
    check: raise when the exit status is not 0. bound: the program must not outlive this one, or it
    would go on changing things while somebody else cleans up already.

    Raises HostError(error): not found, timed out or, with `check`, not successful.
    """
    data = input.encode() if isinstance(input, str) else input
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "SYSTEMD_PAGER": "",
        "SYSTEMD_COLORS": "0",
        **(env or {}),
    }
    identity: dict[str, object] = {}
    if user is not None and os.geteuid() == 0:
        identity = {"user": user, "group": _primary_group(user), "extra_groups": ()}
    stdin = {"input": data} if data is not None else {"stdin": subprocess.DEVNULL}
    try:
        done = subprocess.run(  # type: ignore[call-overload]
            list(argv),
            capture_output=True,
            timeout=timeout,
            env=environment,
            cwd=cwd,
            check=False,
            # With threads about nothing of Python's may run between fork and exec.
            preexec_fn=_bound_to(os.getpid()) if bound and threading.active_count() == 1 else None,
            **stdin,
            **identity,
        )
    except FileNotFoundError as error:
        raise failed(f"{argv[0]}: no such program on this host; install it") from error
    except subprocess.TimeoutExpired as error:
        raise failed(f"{_show(argv)}: no answer within {timeout:g} s") from error
    result = Result(
        done.returncode,
        done.stdout.decode("utf-8", "replace"),
        done.stderr.decode("utf-8", "replace"),
    )
    if check and not result.ok:
        raise failed(
            f"{_show(argv)}: exit status {result.code}: {result.last_line()}", code=result.code
        )
    return result


def _bound_to(parent: int) -> Callable[[], None]:
    import ctypes  # noqa: PLC0415 - few commands need it

    prctl = ctypes.CDLL(None).prctl

    def bind() -> None:
        prctl(_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it was killed before it could be bound to
            os._exit(137)

    return bind


def _show(argv: Sequence[str]) -> str:
    return " ".join(argv[:4]) + (" ..." if len(argv) > 4 else "")


def _primary_group(user: str) -> int:
    return pwd.getpwnam(user).pw_gid
