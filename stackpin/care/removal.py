"""Take a stack off its hosts, exactly as listed before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stackpin.care.fleet import Answers, ask, change
from stackpin.care.parts import parts, parts_on, shares_hosts
from stackpin.engine.remote import RemoteRefused
from stackpin.engine.session import Session
from stackpin.rollout.model import whoami

__all__ = ["anything", "lines", "listed", "remove", "together"]

REMOVE_TIMEOUT = 300.0
# What the last stack on a host takes with it. A part removed earlier in the same go makes a later
# one the last, so these may join its list; anything else that joins is refused.
SHARED = ("/usr/local/lib/stackpin", "/etc/systemd/system/stackpin-boot@.service")


def listed(session: Session, stack: str, *, keep_backups: bool) -> Answers:
    """Ask every host what an uninstall would remove and keep."""
    return ask(session, stack, "uninstall-list", {"keep_backups": keep_backups})


def anything(answers: Answers) -> bool:
    """Whether any host has anything to remove."""
    return any(answer.get("remove") for answer in answers.values.values())


def lines(answer: Mapping[str, Any]) -> Iterator[str]:
    """Yield the list of one host as lines."""
    for item in answer.get("remove") or []:
        yield f"remove {_subject(item)} ({item.get('why', '')})"
    for item in answer.get("keep") or []:
        yield f"keep   {_subject(item)} ({item.get('why', '')})"


def together(stack: str) -> list[str]:
    """Return lines about what goes with the last stack, where several parts go at once."""
    if len(parts(stack)) == 1:
        return []
    told = [f"remove {path} as well, if no other stack is left on the host" for path in SHARED]
    if shares_hosts(stack):
        told.append("remove their service account as well, with the last stack that runs as it")
    return told


def remove(session: Session, stack: str, seen: Answers, *, keep_backups: bool) -> Answers:
    """Remove what `seen` listed; a host whose list changed since then refuses.

    Parts go in the opposite order of their deploy: what stands in front goes last.
    """
    answers = Answers()
    with change(session, stack, "uninstall"):
        for part in reversed(parts(stack)):
            for host in session.hosts:
                key = (host, part)
                if key not in seen.values or not seen.values[key].get("remove"):
                    continue
                try:
                    if part == parts_on(session, stack, host)[-1]:
                        expect = str(seen.values[key]["sha256"])
                    else:
                        expect = _again(session, host, part, seen.values[key], keep_backups)
                    payload = {"who": whoami(), "keep_backups": keep_backups, "expect": expect}
                    answers.values[key] = session.call(
                        host, "uninstall", part, payload, timeout=REMOVE_TIMEOUT
                    )
                except Exception as error:
                    answers.errors[key] = error
    for host, part in answers.values:
        _clear_lock(session, host, part)
    return answers


def _again(
    session: Session, host: str, part: str, shown: Mapping[str, Any], keep_backups: bool
) -> str:
    """List once more, as an earlier part went; return the sum if only SHARED joined the list."""
    fresh = session.call(host, "uninstall-list", part, {"keep_backups": keep_backups})
    joined = [item for item in fresh["remove"] if item not in shown["remove"]]
    # The host lists an account only where no other stack is left that runs as it.
    if any(item.get("path") not in SHARED and "user" not in item for item in joined):
        raise RemoteRefused(
            host,
            f"uninstall of {part}: {_subject(joined[0])} joined the list since it was shown; "
            "nothing of this part was removed: run uninstall again",
        )
    return str(fresh["sha256"])


def _clear_lock(session: Session, host: str, part: str) -> None:
    """Remove what giving back the lease of a stack that is gone leaves; only if it is all."""
    state = f"/var/lib/stackpin/{part}"
    session.run(host, f"rm -f {state}/lock.mutex; rmdir {state} 2>/dev/null; :")


def _subject(item: Mapping[str, Any]) -> str:
    for kind in ("path", "unit", "user", "table"):
        if item.get(kind):
            return str(item[kind]) if kind == "path" else f"{kind} {item[kind]}"
    if item.get("container"):
        return f"container {item['container']} {str(item.get('id', ''))[:12]}"
    if item.get("image"):
        return f"image {str(item['image']).partition('@')[0]}"
    return str(item)
