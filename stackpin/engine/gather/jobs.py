"""A fact's command as a value: what would run, and with which rights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyinfra.api.command import MaskString, QuoteString, StringCommand
from pyinfra.api.hiddenvalue import HiddenValue

__all__ = ["RIGHTS", "Job", "arguments", "job", "secret"]

# pyinfra's global arguments that change what runs on the host. Not those with a password: such a
# command needs a helper file on the host, which pyinfra makes on its own path.
RIGHTS = (
    "_sudo",
    "_sudo_user",
    "_use_sudo_login",
    "_preserve_sudo_env",
    "_su_user",
    "_use_su_login",
    "_preserve_su_env",
    "_su_shell",
    "_doas",
    "_doas_user",
    "_dzdo",
    "_dzdo_user",
    "_shell_executable",
    "_chdir",
    "_env",
)
ALONE = ("_stdin", "_get_pty", "_sudo_password", "_su_password")


@dataclass(frozen=True)
class Job:
    """One command: the shell text, and pyinfra's arguments that decide how it runs, as pairs.

    A dictionary among the arguments (`_env`) is pairs again.
    """

    text: str
    rights: tuple[tuple[str, Any], ...]

    @property
    def arguments(self) -> dict[str, Any]:
        """The rights as pyinfra's functions take them."""
        return arguments(self.rights)


def arguments(rights: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    """Return rights, which are pairs, as pyinfra's functions take them."""
    found = dict(rights)
    if "_env" in found:
        found["_env"] = dict(found["_env"])
    return found


def job(command: StringCommand | str, given: Mapping[str, Any]) -> Job | None:
    """Return the job of a fact's command, or None when it has to run alone.

    That is one with a password, standard input or a terminal of its own.
    """
    if any(given.get(name) for name in ALONE) or not given.get("_shell_executable"):
        return None
    if (given.get("_success_exit_codes") or [0]) != [0]:
        return None
    text = command.get_raw_value() if isinstance(command, StringCommand) else str(command)
    pairs = ((name, given[name]) for name in RIGHTS if given.get(name))
    return Job(text, tuple((name, _frozen(value)) for name, value in pairs))


def secret(command: object) -> bool:
    """Tell whether pyinfra masks any piece of `command` in its own output."""
    if isinstance(command, QuoteString):
        command = command.obj
    if isinstance(command, StringCommand):
        return any(secret(bit) for bit in command.bits)
    return isinstance(command, HiddenValue | MaskString)


def _frozen(value: object) -> object:
    if isinstance(value, Mapping):
        return tuple(sorted((key, _frozen(entry)) for key, entry in value.items()))
    return value.unmask() if isinstance(value, HiddenValue) else value
