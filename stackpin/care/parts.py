"""Which parts of a stack are meant: all, those of a host, its services, who keeps the backups."""

from __future__ import annotations

import difflib

from stackpin.config import stacks
from stackpin.engine.session import Session
from stackpin.errors import Refused

__all__ = [
    "entry_part",
    "keeper_of",
    "keepers",
    "only_host",
    "parts",
    "parts_on",
    "service_name",
    "services",
    "services_on",
    "shares_hosts",
    "slot_part",
]


def parts(stack: str) -> tuple[str, ...]:
    """Return the stacks that `stack` is made of (itself, mostly); refuse an unknown name."""
    return tuple(part.name for part in stacks.stack(stack).components())


def parts_on(session: Session, stack: str, host: str) -> tuple[str, ...]:
    """Return the parts of `stack` that `host` has, connected or not, by its inventory groups."""
    chosen = stacks.stack(stack).components()
    if all(part.group is None for part in chosen):
        return parts(stack)
    groups = session.groups(host)
    return tuple(part.name for part in chosen if part.applies_to(groups))


def shares_hosts(stack: str) -> bool:
    """Whether several services of `stack` run side by side on a host, one part keeping backups."""
    return any(part.keeper for part in stacks.stack(stack).components())


def services(stack: str, service: str | None = None) -> tuple[str, ...]:
    """Return the parts that run as services, in rollout order, or the one called `service`.

    A service is a part whose inventory pins a version, and which is not merely the files of others.
    Raises Refused where there is none, with a proposal for a name that is close to one.
    """
    pinned = [part for part in stacks.stack(stack).components() if part.version_variable]
    names = tuple(part.name for part in pinned if part.keeper or not shares_hosts(stack))
    if not names:
        raise Refused(f"stack {stack}: static files without a service; expected crm or site")
    if service is None:
        return names
    known = {service_name(stack, part): part for part in names}
    if service in known:
        return (known[service],)
    close = difflib.get_close_matches(service, known, 1)
    hint = f"Did you mean {close[0]}?" if close else "Choose one of them, or leave it out for all."
    raise Refused(f"service {service!r} of {stack}: found none of {', '.join(known)}. {hint}")


def service_name(stack: str, part: str) -> str:
    """Return what a part is called on the command line: infracore-console is `console`."""
    return part.removeprefix(f"{stack}-")


def services_on(
    session: Session, stack: str, host: str, service: str | None = None
) -> tuple[str, ...]:
    """Return the parts of `stack` that run as services on `host`; refuse when there is none."""
    having = parts_on(session, stack, host)
    found = tuple(name for name in services(stack, service) if name in having)
    if not found:
        what = f"service {service}" if service else "service"
        raise Refused(f"{host}: has no {what} of stack {stack}; choose another host with --limit")
    return found


def slot_part(stack: str) -> str:
    """Return the first part of `stack` that runs as a service; refuse when there is none."""
    return services(stack)[0]


def entry_part(stack: str, service: str | None = None) -> str:
    """Return the part that a tunnel leads to: that of `service`, or the one declared as entry."""
    if service is None and (entry := stacks.stack(stack).entry):
        return entry
    return services(stack, service)[0]


def keeper_of(part: str) -> str:
    """Return the part whose backups hold the data of `part`: itself, where none is declared."""
    return stacks.stack(part).keeper or part


def keepers(stack: str) -> tuple[str, ...]:
    """Return the parts of `stack` that make backups, each once."""
    return tuple(dict.fromkeys(keeper_of(part) for part in parts(stack)))


def only_host(session: Session, purpose: str) -> str:
    """Return the one host of the session; refuse several, as `purpose` needs exactly one."""
    if len(session.hosts) != 1:
        named = ", ".join(session.hosts)
        raise Refused(f"{purpose}: needs exactly one host, found {named}; add --limit HOST")
    return session.hosts[0]
