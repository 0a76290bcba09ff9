"""Saying no in a deploy file: before anything is changed, on any host, also with `pyinfra -y`.

Deploy files run for every host before the first operation does; an exception there ends the run.
A refusal must not wait for an operation, because the ones before it would have run by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from pyinfra.api.exceptions import DeployError
from pyinfra.api.host import Host
from pyinfra.context import host

from facts.accounts import Account
from facts.git import WorkTree
from facts.nginx import DEFAULT_LINK, Listening, PackagedDefaultSite
from facts.stacks import SlotPorts, StackState
from operations.accounts import HOME, described, is_service_account
from operations.ports import REMEDY, VARIABLE, conflict, serves
from operations.program import lock_token
from operations.repository import problem
from stackpin.config.hoststack import SharedPort
from stackpin.config.hoststack import SlotPorts as Ports
from stackpin.errors import Refused, StackpinError


class DeployRefused(DeployError, Refused):  # noqa: N818 - reads as what happened
    """Raised while deploy files are read: pyinfra ends the run before its first operation."""


def builds_nothing(inventory: Iterable[Host]) -> set[str]:
    """Return names and addresses of all hosts of an inventory: no artifact is built on them."""
    return {
        str(name) for one in inventory for name in (one.name, one.data.get("ssh_hostname")) if name
    }


@contextmanager
def refusing() -> Iterator[None]:
    """Turn our own errors into one that pyinfra reports as a sentence, not as a traceback."""
    try:
        yield
    except DeployRefused:
        raise
    except StackpinError as error:
        raise DeployRefused(f"{host.name}: {error}") from error


def refuse(what: str, found: str, expected: str, remedy: str) -> NoReturn:
    """Raise DeployRefused for this host: what it is about, found, expected, what to do next."""
    raise DeployRefused(f"{host.name}: {what}: found {found}, expected {expected}. {remedy}")


def variables() -> dict[str, object]:
    """Return the host's data as settings are loaded from it: without what only this tool reads."""
    data: dict[str, object] = host.data.dict()
    data.pop("stackpin_lock_token", None)
    return data


def require_service_account(variable: str, user: str) -> None:
    """Refuse to take over an account of somebody, or of another service."""
    account = host.get_fact(Account, user=user)
    if account and not is_service_account(account):
        refuse(
            variable,
            described(account),
            f"a free name, or a system account with home {HOME}, no login shell and its own group",
            "Choose another name: the service gets an account of its own.",
        )


def require_repository(variable: str, path: str, user: str, create: bool) -> None:
    """Refuse a publish repository that is not a Git work tree and must not be made."""
    info = host.get_fact(WorkTree, path=path, user=user)
    why = problem(info, create)
    if why is None:
        return
    remedy = f"Clone the repository there, or run: git -C {path} init"
    if info.closed:
        remedy = f"Move the repository, to /srv for example, or run: chmod o+x {info.closed}"
    elif info.kind == "absent":
        remedy = f"Clone the repository to {path}, or set {variable.replace('_root', '_create')}."
    refuse(variable, f"{why} at {path}", "the top of a Git work tree", remedy)


def require_ports_of_live(
    ports: Ports | SharedPort, stack: str = "crm", variable: str = VARIABLE, remedy: str = REMEDY
) -> None:
    """Refuse to move `stack` to other ports while a release serves on the ones it has."""
    state = host.get_fact(StackState, stack=stack)
    if not serves(state):
        return
    deployed = host.get_fact(SlotPorts, stack=stack)
    found = conflict(state, deployed, ports, remedy)
    if found:
        refuse(variable, found.found, found.expected, found.remedy)


def require_ports_of_nginx(ports: Sequence[int], own: str) -> None:
    """Refuse `ports` on which somebody else's site listens; `own` is the link of this site.

    nginx would serve both by name, and by chance where no name fits. Debian's own default site,
    untouched, gives way instead (see `operations.nginx`).
    """
    packaged = host.get_fact(PackagedDefaultSite)
    for path, listening in host.get_fact(Listening).items():
        taken = sorted(set(ports) & set(listening))
        if path == own or not taken or (path == DEFAULT_LINK and set(taken) <= set(packaged)):
            continue
        refuse(
            f"nginx port {', '.join(map(str, taken))}",
            f"{path}, which listens there",
            "no other site on this port",
            "Remove that site, give it another port, or change infracore_ports.",
        )


def require_port_kept(variable: str, port: int, site: str, stack: str, remedy: str) -> None:
    """Refuse to take `port` from nginx's enabled `site` while what `stack` serves asks there."""
    state = host.get_fact(StackState, stack=stack)
    listening = host.get_fact(Listening).get(site, [])
    if serves(state) and listening and port not in listening:
        refuse(
            variable,
            str(port),
            f"one of {', '.join(map(str, listening))} while {state['live_release']} of {stack} is "
            "live, which knows no other",
            remedy,
        )


def require_no_other_deploy(stack: str) -> None:
    """Refuse while someone else holds the host's lease for `stack`."""
    if host.data.get("stackpin_driver") == "operator":
        return  # the stackpin command takes the lease itself, or only looks
    lease = host.get_fact(StackState, stack=stack).get("lock")
    if lease and lease.get("token") != (lock_token(stack) or ""):
        refuse(
            f"lock of {stack}",
            f"{lease.get('owner', 'someone')} ({lease.get('reason', 'no reason given')})",
            "no other deploy at work",
            "Wait until it ends, or see `stackpin lock show`.",
        )
