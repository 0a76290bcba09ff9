"""Where a service listens on its host, by the host's own settings."""

from __future__ import annotations

import json

from stackpin.engine.remote import RemoteError, RemoteRefused
from stackpin.engine.session import Session

__all__ = ["live_port"]


def live_port(session: Session, host: str, part: str) -> int:
    """Return the loopback port of the live slot of `part` on `host`.

    Raises RemoteRefused where the stack is not installed.
    """
    settings = f"/etc/stackpin/{part}/stack.json"
    slot_file = f"/var/lib/stackpin/{part}/live.green"
    text = f"[ -e {slot_file} ] && echo green || echo blue; [ -e {settings} ] && cat {settings}"
    ran = session.run(host, text)
    slot, _, document = ran.stdout.decode("utf-8", "replace").partition("\n")
    if ran.status != 0:
        raise RemoteRefused(
            host, f"{settings}: not there, so {part} is not installed; deploy it first"
        )
    try:
        return int(json.loads(document)["ports"][slot])
    except (ValueError, KeyError, TypeError) as error:
        raise RemoteError(
            host, f"{settings}: has no port for slot {slot}; deploy {part} again"
        ) from error
