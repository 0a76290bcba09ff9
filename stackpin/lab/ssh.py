"""OpenSSH with the lab's key and known_hosts, never with the user's own settings."""

import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from stackpin.errors import StackpinError
from stackpin.lab.commands import failure, run
from stackpin.lab.paths import LabPaths

__all__ = ["LabHost", "ssh_command", "ssh_run"]


@dataclass(frozen=True)
class LabHost:
    """Where one host of the lab answers."""

    name: str
    address: str
    ssh_port: int = 22


def ssh_command(
    paths: LabPaths, host: LabHost, *, user: str = "root", connect_timeout: int = 10
) -> list[str]:
    """Build the ssh argument list up to and with the destination; `connect_timeout` in seconds."""
    options = {
        "IdentityFile": paths.ssh_key,
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": paths.known_hosts,
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "BatchMode": "yes",
        "ConnectTimeout": connect_timeout,
        "LogLevel": "ERROR",
    }
    flags = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    destination = ["-p", str(host.ssh_port), "-l", user, host.address]
    return ["ssh", "-F", "/dev/null", *flags, *destination]


def ssh_run(
    paths: LabPaths,
    host: LabHost,
    command: str | Sequence[str],
    *,
    user: str = "root",
    check: bool = True,
    timeout: float = 60,
    connect_timeout: int = 10,
) -> subprocess.CompletedProcess[str]:
    """Run `command` on the host; a list is quoted word by word. `timeout` in seconds.

    Exit code 255 is ssh's own: the host could not be reached or refused the login. Raises
    StackpinError when time is up and, with `check`, when the command fails.
    """
    text = command if isinstance(command, str) else shlex.join(command)
    argv = ssh_command(paths, host, user=user, connect_timeout=connect_timeout)
    done = run(*argv, text, check=False, timeout=timeout)
    if check and done.returncode != 0:
        said = done.stderr or done.stdout
        raise StackpinError(f"{host.name}: {failure([text], done.returncode, said)}")
    return done
