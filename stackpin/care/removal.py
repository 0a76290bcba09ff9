"""Take a stack off its hosts, exactly as listed before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stackpin.care.fleet import Answers, change
from stackpin.care.parts import parts, parts_on
from stackpin.engine.session import Session
from stackpin.rollout.model import whoami

__all__ = ["anything", "lines", "listed", "remove"]

REMOVE_TIMEOUT = 300.0
Choice = Mapping[str, bool]  # keep_backups, keep_data


def listed(session: Session, stack: str, choice: Choice) -> Answers:
    """Ask every host what an uninstall would remove and keep, part by part as they will go.

    `choice`: {keep_backups, keep_data}. Each list is exact: what goes before it counts as gone.
    """

    def one(host: str) -> dict[str, Any]:
        going = _going(session, stack, host)
        calls = [("uninstall-list", part, _payload(choice, going, part)) for part in going]
        return dict(zip(going, session.many(host, calls), strict=True))

    answers = Answers()
    asked = session.map(one)
    for host, found in asked.values.items():
        for part, answer in found.items():
            kept = answers.errors if isinstance(answer, Exception) else answers.values
            kept[host, part] = answer
    for host, error in asked.errors.items():
        answers.errors[host, parts(stack)[0]] = error
    return answers


def anything(answers: Answers) -> bool:
    """Whether any host has anything to remove."""
    return any(answer.get("remove") for answer in answers.values.values())


def lines(answer: Mapping[str, Any]) -> Iterator[str]:
    """Yield the list of one host as lines."""
    for item in answer.get("remove") or []:
        yield f"remove {_subject(item)} ({item.get('why', '')})"
    for item in answer.get("keep") or []:
        yield f"keep   {_subject(item)} ({item.get('why', '')})"


def remove(session: Session, stack: str, seen: Answers, choice: Choice) -> Answers:
    """Remove what `seen` listed; a host whose list changed since then refuses.

    Parts go in the opposite order of their deploy: what stands in front goes last.
    """
    answers = Answers()
    order = parts(stack)[::-1]
    going = sorted(seen.values.items(), key=lambda item: order.index(item[0][1]))
    with change(session, stack, "uninstall"):
        for (host, part), shown in going:
            if not shown.get("remove"):
                continue
            expected = {"who": whoami(), "expect": str(shown["sha256"])}
            payload = {**_payload(choice, _going(session, stack, host), part), **expected}
            try:
                answers.values[host, part] = session.call(
                    host, "uninstall", part, payload, timeout=REMOVE_TIMEOUT
                )
            except Exception as error:
                answers.errors[host, part] = error
    for host, part in answers.values:
        _clear_lock(session, host, part)
    return answers


def _going(session: Session, stack: str, host: str) -> list[str]:
    """List the parts a host has, in the order they go."""
    return list(reversed(parts_on(session, stack, host)))


def _payload(choice: Choice, going: list[str], part: str) -> dict[str, Any]:
    return {**choice, "gone": going[: going.index(part)]}


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
