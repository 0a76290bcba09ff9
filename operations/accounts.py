"""Accounts that services run as."""

from __future__ import annotations

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from facts.accounts import Account, AccountInfo
from operations.notes import Change, note
from operations.program import Commands

SHELL = "/usr/sbin/nologin"
HOME = "/nonexistent"
FIRST_PERSON = 1000  # Debian gives people user ids from here on


def is_person(account: AccountInfo | None) -> bool:
    """Tell whether someone may log in with it; a service must not take it over."""
    return bool(account and (account.uid == 0 or account.uid >= FIRST_PERSON))


@operation()
def service_account(user: str) -> Commands:
    """Make a system account with its own group, no home and no shell to log in with."""
    found = host.get_fact(Account, user=user)
    if found and (found.home, found.shell, found.group) == (HOME, SHELL, user):
        host.noop(f"{user} is a system account without a login")
        return
    wanted = f"system account, home {HOME}, shell {SHELL}"
    if found is None:
        note(Change("account", user, None, wanted))
        yield StringCommand(
            "useradd --system --user-group --no-create-home",
            f"--home-dir {HOME} --shell {SHELL}",
            QuoteString(user),
        )
        return
    note(Change("account", user, f"home {found.home}, shell {found.shell}", wanted))
    name = QuoteString(user)
    yield StringCommand(
        StringCommand("getent group", name, ">/dev/null || groupadd --system", name, ";"),
        StringCommand("usermod --gid", name, f"--home {HOME} --shell {SHELL}", name),
    )
