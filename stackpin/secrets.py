"""Looks secrets up where references point, once per process. Values never leave a SecretStr."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pyrage  # type: ignore[import-untyped]
from pydantic import SecretStr

from stackpin import redact
from stackpin.config.common import Resolve, StackSettings
from stackpin.config.envfile import unwritable
from stackpin.config.problems import ConfigProblems, Problem
from stackpin.config.types import SecretRef

LOG = logging.getLogger(__name__)
LONGEST = 64 * 1024
COMMAND_SECONDS = 120  # a password manager may ask its user something
IDENTITY = "STACKPIN_AGE_IDENTITY"
IDENTITY_FILES = ("~/.config/stackpin/age.key", "~/.ssh/id_ed25519", "~/.ssh/id_rsa")

_cache: dict[SecretRef, str] = {}
_lock = threading.RLock()


class SecretError(Exception):
    """A reference that does not resolve: what was found, expected, and what to do. No values."""

    def __init__(self, found: str, expected: str, remedy: str) -> None:
        """Take the three parts of a Problem."""
        super().__init__(f"found {found}, expected {expected}. {remedy}")
        self.found, self.expected, self.remedy = found, expected, remedy


def resolver(
    settings: StackSettings, host: str, sources: Mapping[str, str] | None = None
) -> Resolve:
    """Resolve every secret of `settings` now; return the function that hands them out.

    Raises ConfigProblems naming each variable whose secret is missing or unusable.
    """
    problems = []
    for use in settings.secrets():
        try:
            resolve(use.ref, multiline=use.multiline)
        except SecretError as error:
            file = (sources or {}).get(use.variable.partition("[")[0], "")
            problems.append(
                Problem(
                    file,
                    use.variable,
                    host,
                    f"{use.ref}: {error.found}",
                    error.expected,
                    error.remedy,
                )
            )
    if problems:
        raise ConfigProblems(problems)
    multiline = {use.ref for use in settings.secrets() if use.multiline}
    return lambda ref: resolve(ref, multiline=ref in multiline)


def resolve(ref: SecretRef, *, multiline: bool = False) -> SecretStr:
    """Look up one secret, from the process's cache after the first time. Raises SecretError.

    One final line break is not part of a value. Other control characters are refused, save line
    breaks when `multiline` (keys and certificates).
    """
    with _lock:  # two hosts prepared at once must not ask a password manager twice
        if ref not in _cache:
            _cache[ref] = _LOOKUP[ref.kind](ref.target)
            redact.conceal(_cache[ref])
        value = _cache[ref]
    if not multiline:
        value = value.removesuffix("\n").removesuffix("\r")
    _judge(value, multiline)
    return SecretStr(value)


def forget() -> None:
    """Empty the cache (for tests)."""
    with _lock:
        _cache.clear()
        redact.forget()


def _judge(value: str, multiline: bool) -> None:
    if not value.strip():
        raise SecretError("an empty value", "a secret", "Set it, then run again.")
    reason = unwritable(value.replace("\n", "").replace("\r", "") if multiline else value)
    if reason:
        raise SecretError(
            f"a value with {reason}",
            "a single line of text without control characters",
            "Make a new secret, for example with: openssl rand -base64 32",
        )
    if not multiline and value != value.strip():
        raise SecretError(
            "a value that begins or ends with a blank",
            "one that can be sent in an HTTP header unchanged",
            "Remove the blank.",
        )
    if len(value) < redact.SHORTEST:
        raise SecretError(
            f"a value of {len(value)} characters",
            f"at least {redact.SHORTEST} characters",
            "Make a longer secret, for example with: openssl rand -base64 32",
        )


def _from_environment(name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        raise SecretError(
            "no such environment variable", "a secret in it", f"Run: export {name}=..."
        )
    return value


def _from_file(target: str) -> str:
    path = Path(target).expanduser()
    try:
        data = _read(path)
    except OSError as error:
        raise SecretError(
            str(error.strerror or error).lower(), "a readable file", f"Make {path} with mode 0600."
        ) from None
    return _text(data)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if mode & 0o077:
            LOG.warning(
                "%s can be read by others (mode %04o). Run: chmod 600 %s",
                path,
                mode & 0o7777,
                shlex.quote(str(path)),
            )
        return file.read(LONGEST + 1)


def _text(data: bytes) -> str:
    if len(data) > LONGEST:
        raise SecretError(f"more than {LONGEST} bytes", "a secret", "Refer to the right file.")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise SecretError("bytes that are not UTF-8", "text", "Refer to the right file.") from None


def _from_command(target: str) -> str:
    try:
        argv = shlex.split(target)
        # No shell: the reference is data. The terminal stays attached for a password prompt.
        done = subprocess.run(argv, capture_output=True, timeout=COMMAND_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise SecretError(
            f"no end after {COMMAND_SECONDS} s", "a command that prints the secret", "Try it."
        ) from None
    except (OSError, ValueError, IndexError) as error:
        raise SecretError(
            f"it cannot be run ({error})", "a command that prints the secret", "Try it."
        ) from None
    if done.returncode != 0:
        said = " ".join(done.stderr.decode("utf-8", "replace").split())[-300:]
        raise SecretError(
            f"exit {done.returncode}: {said or 'no message'}",
            "exit 0 and the secret on standard output",
            f"Run it by hand: {target}",
        )
    return _text(done.stdout)


def _from_age(target: str) -> str:
    path = Path(target).expanduser()
    try:
        sealed = path.read_bytes()
    except OSError as error:
        raise SecretError(
            str(error.strerror or error).lower(), "a readable age file", f"Make {path}."
        ) from None
    files = [os.environ[IDENTITY]] if os.environ.get(IDENTITY) else list(IDENTITY_FILES)
    identities = [identity for file in files for identity in _identities(Path(file).expanduser())]
    if not identities:
        raise SecretError(
            f"no age identity in {', '.join(files)}",
            "the key it was encrypted to",
            f"Run: export {IDENTITY}=/path/to/age.key",
        )
    try:
        return _text(pyrage.decrypt(sealed, identities))
    except pyrage.DecryptError as error:
        raise SecretError(
            f"it does not decrypt ({error})",
            f"a file encrypted to a key in {', '.join(files)}",
            f"Encrypt it to that key, or set {IDENTITY}.",
        ) from None


def _identities(path: Path) -> list[pyrage.x25519.Identity | pyrage.ssh.Identity]:
    try:
        data = _read(path)
    except OSError:
        return []
    found: list[pyrage.x25519.Identity | pyrage.ssh.Identity] = []
    for line in data.decode("utf-8", "replace").splitlines():
        if line.startswith("AGE-SECRET-KEY-1"):
            found.append(pyrage.x25519.Identity.from_str(line.strip()))
    if not found and data.startswith(b"-----BEGIN"):
        try:
            found.append(pyrage.ssh.Identity.from_buffer(data))
        except pyrage.IdentityError:  # locked with a passphrase, or of a kind age cannot use
            LOG.debug("%s cannot serve as age identity", path)
    return found


_LOOKUP: dict[str, Callable[[str], str]] = {
    "env": _from_environment,
    "file": _from_file,
    "command": _from_command,
    "age": _from_age,
}
