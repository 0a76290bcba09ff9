"""Accounts that services run as."""

from __future__ import annotations

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from facts.accounts import Account, AccountInfo
from operations.notes import Change, note
from operations.program import Commands
from stackpin.errors import Refused

SHELL = "/usr/sbin/nologin"
NO_SHELLS = {SHELL, "/sbin/nologin", "/bin/false", "/usr/bin/false"}
HOME = "/nonexistent"
FIRST_PERSON = 1000  # Debian gives people user ids from here on


def is_service_account(account: AccountInfo) -> bool:
    """Tell whether an account is what `service_account` makes; any other belongs to something."""
    return (
        0 < account.uid < FIRST_PERSON
        and (account.home, account.group) == (HOME, account.name)
        and account.shell in NO_SHELLS
    )


def described(account: AccountInfo) -> str:
    """Say in words whose account it is."""
    return (
        f"{account.name!r}, an account with user id {account.uid}, home {account.home}, "
        f"shell {account.shell}, group {account.group}"
    )


@operation()
def service_account(user: str) -> Commands:
    """Make a system account with its own group, no home and no shell to log in with.

    One that is there is taken out of all other groups. Raises Refused when it belongs to something
    else: deploy files ask `refusals.require_service_account` before anything is changed.
    """
    found = host.get_fact(Account, user=user)
    if found is None:
        note(Change("account", user, None, f"system account, home {HOME}, shell {SHELL}"))
        yield StringCommand(
            "useradd --system --user-group --no-create-home",
            f"--home-dir {HOME} --shell {SHELL}",
            QuoteString(user),
        )
        return
    if not is_service_account(found):
        raise Refused(f"{host.name}: found {described(found)}. Choose another name.")
    others = sorted({*found.groups} - {found.group})
    if others:
        note(Change("account", user, f"also in {', '.join(others)}", "in its own group alone"))
        yield StringCommand("usermod --groups ''", QuoteString(user))
        return
    host.noop(f"{user} is a system account without a login")
